"""Errors that a user can fix: each says where, what was expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LACK_OF_MEMORY = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")
"""How torch says so in a plain `RuntimeError`."""


class SpikeError(Exception):
    """A mistake outside the program. The command line prints its message alone and exits with code 2."""

    same_in_all_processes = False
    """Whether every process of a run raises it alike, so that it is enough if the first prints it."""


class SpikeWarning(UserWarning):
    """A note to the user, which stops nothing. The command line prints its message alone."""


class ConfigError(SpikeError):
    """An unknown setting, or one of the wrong type or range."""

    same_in_all_processes = True


class MissingTimesError(ConfigError):
    """A setting that reads the order of time, with data that has none.

    Parameters
    ----------
    setting
        Its dotted key.
    value, off
        What it is, and what switches it off, as they stand in a configuration.
    """

    def __init__(self, setting: str, value: object, off: object) -> None:
        super().__init__(
            f"{setting} is {value}, and this data does not say when interactions happened\n"
            f"  Set {setting}={off}, or give the data times (docs/data.md)."
        )


class NotFiniteError(SpikeError):
    """Losses, parameters, embeddings or scores that are infinite or not a number."""

    same_in_all_processes = True


class UnknownIdError(SpikeError):
    """A raw id that the data set does not hold."""


class LanguageModelError(SpikeError):
    """A server of language models that refuses to work, or is not there; whatever it answered before is kept."""


class DataError(SpikeError):
    """A file that is missing, broken, or contradicts another.

    Parameters
    ----------
    file
        The file at fault.
    problem
        What is wrong with it, and what was expected instead.
    remedy
        What the user can do about it, as one sentence.
    line
        Line number, counted from 1, where there is one.
    """

    def __init__(self, file: Path | str, problem: str, remedy: str, line: int | None = None) -> None:
        self.file, self.line, self.problem, self.remedy = Path(file), line, problem, remedy
        where = f"{file}, line {line}" if line is not None else f"{file}"
        super().__init__(f"{where}: {problem}\n  {remedy}")


@contextmanager
def lack_of_memory_explained() -> Iterator[None]:
    """Turn what numpy and torch raise where memory does not suffice into a `SpikeError` that says what to lower."""
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
    """A clause naming the choice most like `word`, or all of them where none is near; for error messages."""
    known = [str(choice) for choice in choices]
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(sorted(known)[:20])
