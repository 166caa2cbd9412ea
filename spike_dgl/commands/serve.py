"""Command ``python main.py serve``: a web server for a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from spike_dgl.commands.duration import Duration
from spike_dgl.commands.recommend import DEVICE
from spike_dgl.errors import SpikeError

if TYPE_CHECKING:
    from spike_dgl.training.devices import Device

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=FILE)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 uses a free one."
)
@click.option(
    "--token-file",
    type=FILE,
    help="File with the token that API requests need; without it, SPIKE_DGL_TOKEN is used if set.",
)
@click.option(
    "--without-token", is_flag=True, help="Answer requests without a token from all who can reach HOST."
)
@click.option(
    "--without-model",
    is_flag=True,
    help="Disable explanations: the server starts faster and uses less memory.",
)
@click.option(
    "--cors-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages of this origin read responses (CORS); repeatable.",
)
@click.option(
    "--root-path",
    default="",
    help="Path prefix under which a proxy publishes the server, such as /recommender.",
)
@click.option("--access-log", is_flag=True, help="Write one line of JSON per request.")
@click.option(
    "--drain-seconds",
    default=0.0,
    show_default=True,
    type=Duration(0, 600),
    help="Time to keep answering after SIGTERM, while /ready returns 503.",
)
@DEVICE
def serve(
    run: Path,
    host: str,
    port: int,
    token_file: Path | None,
    without_token: bool,
    without_model: bool,
    origins: tuple[str, ...],
    root_path: str,
    access_log: bool,
    drain_seconds: float,
    device: Device,
) -> None:
    """Serve RUN: an explorer for the browser, an HTTP API, and its OpenAPI page.

    Ctrl-C stops the server. SIGHUP reloads RUN, a run folder or a link to one, and serves the run that is there now.
    """
    try:
        from spike_dgl.serve import security, server
    except ModuleNotFoundError as error:
        raise SpikeError(
            f"serving a run needs the package {error.name}, which is not installed\n"
            '  Install it: pip install -e ".[serve]"'
        ) from None

    token = None if without_token else security.read_token(token_file)
    if token is None and not without_token and not security.is_local(host):
        raise SpikeError(
            f"{host} can be reached from other machines, but no token is set\n"
            f"  Set {security.TOKEN_VARIABLE}, or add --token-file FILE or --without-token."
        )
    security.check_origins(origins)
    server.serve(
        run,
        host=host,
        port=port,
        token=token,
        with_model=not without_model,
        device=device,
        origins=origins,
        root_path=root_path,
        access_log=access_log,
        drain_seconds=drain_seconds,
        say=lambda address: click.echo(
            f"{run.resolve().name}: explorer {address}, API {address}/docs (Ctrl-C stops it)"
        ),
    )
