"""Opening the port, and answering until told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import uvicorn

from spike_dgl.errors import SpikeError
from spike_dgl.serve import limits, security
from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service
from spike_dgl.training.interrupt import StopRequest


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    with_model: bool = True,
    origins: Sequence[str] = (),
    root_path: str = "",
    say: Callable[[str], None] = print,
) -> None:
    """Serve a run until Ctrl-C or SIGTERM; questions under way are answered before it ends.

    Parameters
    ----------
    run
        Run folder.
    host, port
        Where to listen; port 0 takes a free one.
    token
        What the API asks for; None: nothing.
    with_model
        Open the model in the background, so that it can explain.
    origins, root_path
        See `create_app`.
    say
        Told the address once it is open.

    Raises
    ------
    SpikeError
        Where the run cannot be opened, or nobody can listen there.
    """
    local = security.is_local(host)
    with closing(_listen(host, port)) as listening:
        service = Service(run, with_model=with_model)
        app = create_app(
            service,
            token=token,
            only_local_names=local and token is None,
            origins=origins,
            root_path=root_path,
        )
        config = uvicorn.Config(
            app,
            # h11 refuses headers beyond a size, which faster parsers do not.
            http="h11",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.CONNECTIONS,
            timeout_keep_alive=limits.IDLE_SECONDS,
            timeout_graceful_shutdown=10,
        )
        say(_address(listening, host))
        with StopRequest():
            uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # From here on the port is ours; who connects while the run is being opened waits.
        listening = socket.create_server(address[:2], family=family, backlog=limits.CONNECTIONS)
    except OSError as error:
        raise SpikeError(
            f"cannot listen on {host}, port {port}: {error.strerror}\n"
            "  Another program may use that port: name another one (--port), or 0 for any that is free."
        ) from None
    # Connections inherit it. Else the body waits for the headers to be acknowledged, which takes 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _address(listening: socket.socket, host: str) -> str:
    port = listening.getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
