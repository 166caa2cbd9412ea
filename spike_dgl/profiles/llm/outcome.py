"""Outcome of a run, and selection of the requests to send."""

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
    """Numbers of distinct requests by result, and their usage.

    Parameters
    ----------
    total
        All requests.
    stored
        Requests answered before, or meanwhile by another process.
    answered
        Requests answered in this run, and stored.
    failed
        Requests that failed in this run; the store has the reasons.
    given_up
        Requests not sent because they were rejected `ClientOptions.attempts` times before.
    in_batch
        Requests not sent because they are in an open batch.
    prompt_tokens, completion_tokens, cost
        Tokens charged in this run, including rejected answers, and their cost in US dollars as far as prices are known.
    cut_prompts
        Responses in this run to a prompt that the server truncated: it reports far fewer tokens than were sent.
    under_way
        Requests that wait for their response.
    retries, trouble
        Number of retries, and the reason of the last one.
    stopped
        Reason why the run stopped early; empty if it did not.
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
        """Number of requests not sent because the run stopped."""
        return self.total - self.stored - self.answered - self.failed - self.given_up - self.in_batch

    @property
    def is_complete(self) -> bool:
        """True if every request has an answer."""
        return self.stored + self.answered == self.total


def sort_out(
    requests: dict[str, Request], store: Store, client: ClientOptions
) -> tuple[deque[Request], Outcome]:
    """Return the requests to send, and an outcome that counts the others."""
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
