"""Errors that a user can fix: each message says where, what is wrong, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LACK_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
"""Phrases in torch's `RuntimeError` messages about lack of memory."""


class SpikeError(Exception):
    """Error that the user can fix. The command line prints its message without a traceback and exits with code 2."""

    same_in_all_processes = False
    """True if all processes of a run raise the same error, so that only the first prints it."""


class SpikeWarning(UserWarning):
    """Note to the user. The command line prints its message only."""


class ConfigError(SpikeError):
    """Unknown setting, or invalid value of a setting."""

    same_in_all_processes = True


class MissingTimesError(ConfigError):
    """Setting that needs the times of interactions, with data that has none.

    Parameters
    ----------
    setting
        Its dotted key.
    value, off
        Its value, and the value that switches it off, as in a configuration.
    """

    def __init__(self, setting: str, value: object, off: object) -> None:
        super().__init__(
            f"{setting} is {value}, but this data does not say when interactions happened\n"
            f"  Set {setting}={off}, or add times to the data (docs/data.md)."
        )


class NotFiniteError(SpikeError):
    """Losses, parameters, embeddings or scores that are infinite or not a number."""

    same_in_all_processes = True


class UnknownIdError(SpikeError):
    """Raw id that is not in the dataset."""


class LanguageModelError(SpikeError):
    """Failure of a language model server; its earlier responses are kept."""


class DataError(SpikeError):
    """File that is missing, invalid, or contradicts another.

    Parameters
    ----------
    file
        The file.
    problem
        Description of the problem, and what was expected.
    remedy
        Remedy, as one sentence.
    line
        Line number, from 1, if the problem is in one line.
    """

    def __init__(self, file: Path | str, problem: str, remedy: str, line: int | None = None) -> None:
        self.file, self.line, self.problem, self.remedy = Path(file), line, problem, remedy
        where = f"{file}, line {line}" if line is not None else f"{file}"
        super().__init__(f"{where}: {problem}\n  {remedy}")


@contextmanager
def lack_of_memory_explained() -> Iterator[None]:
    """Convert out-of-memory errors of numpy and torch into a `SpikeError` that names settings to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(words in text for words in LACK_OF_MEMORY):
            raise
        raise SpikeError(
            f"there is not enough memory: {text.splitlines()[0] if text else type(error).__name__}\n"
            "  Lower training.batch_size, evaluation.chunk_size, model.embedding_dim or profiles.vector_dim, set "
            "model.fanout, or use a machine with more memory."
        ) from error


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a clause for error messages with the choice most similar to `word`, or up to 20 choices if none is."""
    known = [str(choice) for choice in choices]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(sorted(known)[:20])
