"""Opening the port, and answering until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from spike_dgl.errors import SpikeError
from spike_dgl.serve import limits, security
from spike_dgl.serve.api import create_app
from spike_dgl.serve.deployment import Deployment
from spike_dgl.serve.service import Service
from spike_dgl.serve.signals import ReloadRequest
from spike_dgl.serve.worker import Busy
from spike_dgl.training.interrupt import StopRequest

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "dated": {"format": "%(asctime)s %(levelname)s %(message)s"},
        "bare": {"format": "%(message)s"},
    },
    "handlers": {
        "messages": {"class": "logging.StreamHandler", "formatter": "dated"},
        "requests": {"class": "logging.StreamHandler", "formatter": "bare", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"handlers": ["messages"], "level": "WARNING", "propagate": False},
        "spike_dgl.serve": {"handlers": ["messages"], "level": "INFO", "propagate": False},
        "spike_dgl.serve.access": {"handlers": ["requests"], "propagate": False},
    },
}
"""Messages go to standard error, requests to standard output, as uvicorn has it."""


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    with_model: bool = True,
    origins: Sequence[str] = (),
    root_path: str = "",
    access_log: bool = False,
    drain_seconds: float = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a run until Ctrl-C or SIGTERM; questions under way are answered before it ends. SIGHUP reloads the run.

    Parameters
    ----------
    run
        Run folder, or a link to one.
    host, port
        Where to listen; port 0 takes a free one.
    token
        What the API asks for; None: nothing.
    with_model
        Open the model in the background, so that it can explain.
    origins, root_path
        See `create_app`.
    access_log
        Write a line of JSON for each request to standard output.
    drain_seconds
        How long to go on after SIGTERM, not ready, until proxies have noticed and send nothing any more.
    say
        Told the address once it is open.

    Raises
    ------
    SpikeError
        Where the run cannot be opened, or nobody can listen there.
    """
    local = security.is_local(host)
    with closing(_listen(host, port)) as listening, ReloadRequest() as reload:
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
            log_config=LOGGING,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.CONNECTIONS,
            timeout_keep_alive=limits.IDLE_SECONDS,
            timeout_graceful_shutdown=10,
        )
        logging.getLogger("spike_dgl.serve.access").setLevel("INFO" if access_log else "WARNING")
        say(_address(listening, host))
        with StopRequest():
            _Server(config, app.state.deployment, reload, drain_seconds).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Reloads when asked to, and drains before it stops.

    Parameters
    ----------
    deployment
        What is served.
    reload
        Looked at ten times a second, as uvicorn does with its own signals.
    drain_seconds
        From SIGTERM to the end of listening. A second signal, and Ctrl-C, end it at once.
    """

    def __init__(
        self, config: uvicorn.Config, deployment: Deployment, reload: ReloadRequest, drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._deployment, self._reload, self._drain_seconds = deployment, reload, drain_seconds
        self._stop_at: float | None = None
        self._reloading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain first, or stop."""
        if sig == signal.SIGTERM and self._drain_seconds and not self._deployment.draining:
            self._stop_at = time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)
        self._deployment.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Do what signals asked for; true ends the server."""
        if self._reload.asked and not self._deployment.is_reloading:
            self._reload.asked = False
            self._reloading = asyncio.create_task(self._try_reload())
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.handle_exit(signal.SIGTERM, None)
            self._stop_at = None
        return await super().on_tick(counter)

    async def _try_reload(self) -> None:
        try:
            await self._deployment.reload()
        except Busy:
            self._reload.asked = True
        except SpikeError:
            pass  # the log says why


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
