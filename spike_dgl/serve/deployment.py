"""Deployment of a run, and its replacement by a newer run."""

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
    """The service that answers requests; `reload` replaces it.

    Each request reads `service` once and uses it to its end. So no request sees two runs, and the memory of the old
    run is freed after its last answer.

    Parameters
    ----------
    service
        First service.

    Attributes
    ----------
    draining
        True if the server is about to stop and should get no new requests.
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
        """Readiness of the server. During a reload, the old run is still ready."""
        if self.draining:
            return "draining"
        return "ready" if self.service.is_open else "loading"

    async def reload(self) -> Service:
        """Open the run folder again, check the run, and serve it.

        Raises `Busy` during another reload, and `SpikeError` if the new run cannot be served; the old run then
        stays.
        """
        if self.is_reloading:
            raise Busy("another reload is in progress")
        self.is_reloading, old, loop = True, self.service, asyncio.get_running_loop()
        try:
            self.service = await asyncio.to_thread(old.reopened)
        except Exception as error:  # a damaged run can raise anything, and must not stop the server
            self.reloads["failed"] += 1
            _return_memory(loop)
            reason = str(error) if isinstance(error, SpikeError) else f"{type(error).__name__}: {error}"
            problem = f"the run was not reloaded, {old.name} is still served: {reason}"
            logger.error(problem)
            raise SpikeError(problem) from None
        finally:
            self.is_reloading = False
        self.reloads["succeeded"] += 1
        logger.info("now serving %s instead of %s", self.service.name, old.name)
        weakref.finalize(old, _return_memory, loop).atexit = False
        return self.service


def _return_memory(loop: asyncio.AbstractEventLoop) -> None:
    """Return freed memory to the system after one second; with the allocator's settings for training, it would stay."""
    with suppress(RuntimeError):  # the loop is closed because the server stops
        loop.call_soon_threadsafe(loop.call_later, 1, loop.run_in_executor, None, return_freed_memory)
