"""Progress bars and notes while requests to a language model run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from spike_dgl.profiles.llm.client import ClientOptions
from spike_dgl.profiles.llm.estimate import Estimate
from spike_dgl.profiles.llm.failures import Failure
from spike_dgl.profiles.llm.outcome import INTERRUPTED, Outcome
from spike_dgl.profiles.llm.remedies import remedy_of

if TYPE_CHECKING:
    from spike_dgl.profiles.llm.failures import Mishap


SECONDS_BETWEEN_REFRESHES = 1.0
"""Interval at which the elapsed time is refreshed while nothing else changes."""


class ProgressBars:
    """Progress bar of each stage, and notes on standard error, each printed once.

    Parameters
    ----------
    estimates
        Number of requests of each stage.
    client
        Connection settings that the notes name.
    quiet
        Show only the notes.
    """

    def __init__(self, estimates: Sequence[Estimate], client: ClientOptions, *, quiet: bool) -> None:
        self._totals: dict[str, int] = {}
        for one in estimates:
            self._totals[one.node_type] = self._totals.get(one.node_type, 0) + one.requests
        self._client, self._quiet = client, quiet
        self._bars: dict[str, tqdm[Any]] = {}
        self._noted: set[str] = set()
        self._shown = 0.0

    def show(self, node_type: str, outcome: Outcome) -> None:
        """Show the outcome of a stage so far."""
        if node_type not in self._bars:
            self.close()  # the previous stage has ended
            total = self._totals.get(node_type)
            self._bars[node_type] = tqdm(desc=node_type, total=total, unit=" requests", disable=self._quiet)
        bar = self._bars[node_type]
        again = f", {outcome.retries:,} retries: {outcome.trouble}" if outcome.retries else ""
        bar.set_postfix_str(f"${outcome.cost:.4f}{again}", refresh=False)
        news = outcome.answered + outcome.failed - bar.n
        if news:
            bar.update(news)
        elif time.monotonic() > self._shown + SECONDS_BETWEEN_REFRESHES:
            self._shown = time.monotonic()
            bar.refresh()
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        if outcome.stopped == INTERRUPTED:
            waiting = f"waiting for {outcome.under_way:,} requests that were sent and will be charged"
            self._say_once(INTERRUPTED, f"stopping: {waiting}; press Ctrl-C again to stop at once")
        elif outcome.retries:
            trouble: Mishap = outcome.trouble  # type: ignore[assignment]
            remedy = remedy_of(Failure(trouble), self._client)
            self._say_once(trouble, f"requests are retried; the last attempt failed: {trouble}. {remedy}")
        if outcome.cut_prompts:
            self._say_once("cut", f"{cut_prompts_note(self._client)}")

    def _say_once(self, what: str, note: str) -> None:
        if what not in self._noted:
            self._noted.add(what)
            tqdm.write(note, file=sys.stderr)

    def close(self) -> None:
        """Close all bars and leave them on the screen."""
        for bar in self._bars.values():
            bar.close()


def cut_prompts_note(client: ClientOptions) -> str:
    """Return the note for a server that reports far fewer prompt tokens than were sent."""
    return (
        "the server truncates prompts: it reports far fewer tokens than were sent, so answers miss data. "
        "Increase its context length (Ollama: OLLAMA_CONTEXT_LENGTH=8192, llama.cpp: --ctx-size), "
        f"or lower {client.request_setting('prompt_tokens')}."
    )
