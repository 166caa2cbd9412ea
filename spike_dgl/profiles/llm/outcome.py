"""Outcome of a run, and which of its requests are still to be sent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.requests import Request
from spike_dgl.profiles.llm.store import Store

NO_MONEY = "the cost limit is reached"
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Outcome:
    """Result of some requests, each different one counted once.

    Parameters
    ----------
    total
        Different requests that were given.
    stored
        Answered before, or meanwhile by another process.
    answered
        Answered now, and stored.
    failed
        Failed now; the store says why.
    given_up
        Left alone, since they were rejected `ClientOptions.attempts` times before.
    in_batch
        Left alone, since they are with the Batch API.
    prompt_tokens, completion_tokens, cost
        Paid now, rejected answers included; US dollars as far as prices are known.
    cut_prompts
        Responses now of whose prompt the server counted far fewer tokens than it has, because it cut it.
    under_way
        Requests that have been sent and wait for their response.
    retries, trouble
        Attempts after the first, and the reason of the last one.
    stopped
        Why the run stopped before its end; empty where it did not.
    """

    total: int = 0
    stored: int = 0
    answered: int = 0
    failed: int = 0
    given_up: int = 0
    in_batch: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    cut_prompts: int = 0
    under_way: int = 0
    retries: int = 0
    trouble: str = ""
    stopped: str = ""

    @property
    def unsent(self) -> int:
        """Requests that were never sent, because the run stopped."""
        return self.total - self.stored - self.answered - self.failed - self.given_up - self.in_batch

    @property
    def is_complete(self) -> bool:
        """True where every request has an answer."""
        return self.stored + self.answered == self.total


def sort_out(
    requests: dict[str, Request], store: Store, client: ClientOptions
) -> tuple[deque[Request], Outcome]:
    """Return the requests that are to be sent, and what is to be said of the others."""
    answered, batched = store.answered(requests), store.in_batch(requests)
    rejections = store.rejections(requests)
    given_up = {
        key for key, count in rejections.items() if count >= client.attempts and key not in answered | batched
    }
    settled = answered | batched | given_up
    waiting = deque(request for key, request in requests.items() if key not in settled)
    outcome = Outcome(
        total=len(requests), stored=len(answered), given_up=len(given_up), in_batch=len(batched - answered)
    )
    return waiting, outcome
