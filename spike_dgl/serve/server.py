"""The server process: open the port, answer requests, reload and stop on signals."""

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
from typing import TYPE_CHECKING, Any

import uvicorn

from spike_dgl.errors import SpikeError
from spike_dgl.serve import limits, security
from spike_dgl.serve.api import create_app
from spike_dgl.serve.deployment import Deployment
from spike_dgl.serve.service import Service
from spike_dgl.serve.signals import ReloadRequest
from spike_dgl.serve.worker import Busy
from spike_dgl.training.interrupt import StopRequest

if TYPE_CHECKING:
    from spike_dgl.training.devices import Device

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
"""Logging as in uvicorn: messages to standard error, the access log to standard output."""


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    with_model: bool = True,
    device: Device = "cpu",
    origins: Sequence[str] = (),
    root_path: str = "",
    access_log: bool = False,
    drain_seconds: float = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a run until Ctrl-C or SIGTERM, then answer the requests in progress. SIGHUP reloads the run.

    Parameters
    ----------
    run
        Run folder, or a link to one.
    host, port
        Address to listen on; port 0 uses a free one.
    token
        Token that API requests need; None for no token.
    with_model
        Load the model in the background, for explanations.
    device
        Device that ranks the items for users of the data.
    origins, root_path
        See `create_app`.
    access_log
        Write one line of JSON per request to standard output.
    drain_seconds
        Seconds to keep answering after SIGTERM as "not ready", until load balancers send no more requests.
    say
        Called with the server's URL once the port is open.

    Raises
    ------
    SpikeError
        If the run cannot be opened, or the port cannot be used.
    """
    local = security.is_local(host)
    with closing(_listen(host, port)) as listening, ReloadRequest() as reload:
        service = Service(run, with_model=with_model, device=device)
        app = create_app(
            service,
            token=token,
            only_local_names=local and token is None,
            origins=origins,
            root_path=root_path,
        )
        config = uvicorn.Config(
            app,
            # h11 limits the size of headers, which faster parsers do not.
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
    """Uvicorn server that reloads on SIGHUP, and drains before it stops.

    Parameters
    ----------
    deployment
        Deployment to reload and to drain.
    reload
        Reload request, checked ten times per second.
    drain_seconds
        Seconds between SIGTERM and the end of listening. A second signal, or Ctrl-C, stops the server at once.
    """

    def __init__(
        self, config: uvicorn.Config, deployment: Deployment, reload: ReloadRequest, drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._deployment, self._reload, self._drain_seconds = deployment, reload, drain_seconds
        self._stop_at: float | None = None
        self._reloading: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start draining, or stop."""
        if sig == signal.SIGTERM and self._drain_seconds and not self._deployment.draining:
            self._stop_at = time.monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)
        self._deployment.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Start a requested reload, and stop after draining. Return whether the server should end."""
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
            pass  # `Deployment.reload` has logged the reason


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Bind the port before the run is opened; clients that connect meanwhile wait.
        listening = socket.create_server(address[:2], family=family, backlog=limits.CONNECTIONS)
    except OSError as error:
        raise SpikeError(
            f"cannot listen on {host}, port {port}: {error.strerror}\n"
            "  Another program may use that port: choose another one with --port, or 0 for a free one."
        ) from None
    # Connections inherit this. Without it, the body waits 40 ms for the acknowledgement of the headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _address(listening: socket.socket, host: str) -> str:
    port = listening.getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
