"""The run that is served, and the newer one that takes its place."""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress
from typing import Literal

from spike_dgl.errors import SpikeError
from spike_dgl.serve.service import Service
from spike_dgl.serve.worker import Busy
from spike_dgl.training.allocator import return_freed_memory

logger = logging.getLogger(__name__)


class Deployment:
    """The service that answers, until `reload` puts another in its place.

    A request takes the service once, and keeps it to its end. So no request sees two runs, and the memory of the old
    run is free after the last answer from it.

    Parameters
    ----------
    service
        Answers first.

    Attributes
    ----------
    draining
        Whether the server is about to end, and wants no new requests.
    reloads
        Number of reloads by outcome.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.draining = False
        self.reloads = {"succeeded": 0, "failed": 0}
        self.is_reloading = False

    @property
    def state(self) -> Literal["ready", "loading", "draining"]:
        """Readiness: while a newer run is opened, the old one is ready."""
        if self.draining:
            return "draining"
        return "ready" if self.service.is_open else "loading"

    async def reload(self) -> Service:
        """Open the run folder anew, check it, and let it answer from then on.

        Raises `Busy` while another reload is under way, and `SpikeError` where the new run cannot be served; then
        the old one goes on.
        """
        if self.is_reloading:
            raise Busy("a reload is under way")
        self.is_reloading, old, loop = True, self.service, asyncio.get_running_loop()
        try:
            self.service = await asyncio.to_thread(old.reopened)
        except Exception as error:  # a damaged run can raise anything, and must not end what works
            self.reloads["failed"] += 1
            _return_memory(loop)
            reason = str(error) if isinstance(error, SpikeError) else f"{type(error).__name__}: {error}"
            problem = f"the run was not reloaded, and {old.name} is served as before: {reason}"
            logger.error(problem)
            raise SpikeError(problem) from None
        finally:
            self.is_reloading = False
        self.reloads["succeeded"] += 1
        logger.info("%s is served, in place of %s", self.service.name, old.name)
        weakref.finalize(old, _return_memory, loop).atexit = False
        return self.service


def _return_memory(loop: asyncio.AbstractEventLoop) -> None:
    """Give the system back what is freed now, in a second; the C library would keep it, as training wants it to."""
    with suppress(RuntimeError):  # the loop is closed, the server ends
        loop.call_soon_threadsafe(loop.call_later, 1, loop.run_in_executor, None, return_freed_memory)
