"""Opening of raw files, compressed (gz, zst, zip) or not, as a stream of UTF-8 bytes with a progress bar.

A path may be inside a zip archive, as in ``ml-25m.zip/ml-25m/ratings.csv``.
"""

from __future__ import annotations

import codecs
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, Protocol

from tqdm import tqdm

from spike_dgl.data.files import COPY_AGAIN, marked_encoding
from spike_dgl.data.prepare.arrow import pa
from spike_dgl.errors import ConfigError, DataError

PACKED = (".gz", ".zst", ".zip")
LONGEST_MARK = 4
"""Maximum length of a byte order mark in bytes."""
LONGEST_FIRST_LINE = 1 << 20
"""Maximum number of bytes to search for the first line end."""


class Stream(Protocol):
    """Interface of a stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""


def find_file(source: Path, name: str) -> Path | None:
    """Find a file, compressed or not, in a folder or in any folder of a zip archive; None if there is none."""
    names = [f"{name}{packed}" for packed in ("", *PACKED)]
    if source.is_dir():
        return next((source / name for name in names if (source / name).is_file()), None)
    if not zipfile.is_zipfile(source):
        return None
    with zipfile.ZipFile(source) as archive:
        members = [member for member in _members(archive) if PurePosixPath(member).name in names]
    return source / members[0] if members else None


def needed_file(source: Path, name: str, origin: str) -> Path:
    """Find a file as `find_file`. Raises `DataError` if there is none; `origin` names the source of the files."""
    found = find_file(source, name)
    if found is None:
        remedy = f"Give the folder or the zip archive with the files of {origin}."
        raise DataError(source / name, "is missing", remedy)
    return found


@contextmanager
def open_raw(file: Path) -> Iterator[IO[bytes]]:
    """Open a file without decompressing or recoding it; its path may be inside a zip archive.

    Raises
    ------
    DataError
        If it cannot be opened.
    """
    with ExitStack() as stack:
        raw, _ = _opened(file, stack)
        yield raw


@contextmanager
def open_stream(file: Path, *, encoding: str = "utf-8", progress: bool = False) -> Iterator[Stream]:
    """Open a file for reading as UTF-8 from its beginning, without a byte order mark.

    Lines end with a newline character, optionally after a carriage return.

    Parameters
    ----------
    file
        Plain file, or a file compressed as ``.gz``, ``.zst`` or ``.zip`` (with one member).
    encoding
        Text encoding. With UTF-8, a byte order mark takes precedence.
    progress
        Show a progress bar of the (compressed) bytes of the file.

    Raises
    ------
    DataError
        If the file cannot be opened, or turns out to be damaged while it is read.
    ConfigError
        If the encoding is unknown.
    """
    with ExitStack() as stack:
        raw, size = _opened(file, stack)
        unpacked = _unpack(file, raw, stack)
        bar: tqdm[Any] = tqdm(desc=file.name, total=size, unit="B", unit_scale=True, disable=not progress)
        stack.enter_context(bar)
        yield _Watched(file, _Recoded(unpacked, encoding), raw, bar)


def unpacked_name(file: Path) -> PurePath:
    """Return the file name without compression: ``reviews.json.gz`` -> ``reviews.json``."""
    if file.suffix.lower() != ".zip":
        return PurePath(file.stem if file.suffix.lower() in PACKED else file.name)
    try:
        with open_raw(file) as raw, zipfile.ZipFile(raw) as archive:
            return PurePath(_only_member(file, archive))
    except (DataError, OSError, zipfile.BadZipFile):
        return PurePath(file.stem)  # opening the file raises the error


def _opened(file: Path, stack: ExitStack) -> tuple[IO[bytes], int]:
    """Open a file, or a member of an archive; also return its size."""
    archive = next((path for path in file.parents if path.suffix.lower() == ".zip" and path.is_file()), None)
    try:
        if archive is None:
            return stack.enter_context(file.open("rb")), file.stat().st_size
        opened = stack.enter_context(zipfile.ZipFile(archive))
        member = opened.getinfo(file.relative_to(archive).as_posix())
        return stack.enter_context(opened.open(member)), member.file_size
    except (FileNotFoundError, KeyError):
        raise DataError(file, "no such file", "Put the file there, or correct the path.") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(file, f"cannot be read: {_reason(error)}", COPY_AGAIN) from None


def _unpack(file: Path, raw: IO[bytes], stack: ExitStack) -> Stream:
    suffix = file.suffix.lower()
    if suffix == ".gz":
        return stack.enter_context(gzip.GzipFile(fileobj=raw))
    if suffix == ".zst":
        return pa.CompressedInputStream(raw, "zstd")  # type: ignore[no-any-return]
    if suffix != ".zip":
        return raw
    try:
        archive = stack.enter_context(zipfile.ZipFile(raw))
        return stack.enter_context(archive.open(_only_member(file, archive)))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(file, f"cannot be read: {_reason(error)}", COPY_AGAIN) from None


def _only_member(file: Path, archive: zipfile.ZipFile) -> str:
    members = _members(archive)
    if len(members) != 1:
        problem = f"expected one file in the archive, found {len(members)}: {', '.join(members[:5])}"
        raise DataError(file, problem, "Unpack it, and give the file inside.")
    return members[0]


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]


class _Recoded:
    """Stream of text in any encoding as UTF-8; carriage returns as line ends become newline characters."""

    def __init__(self, stream: Stream, encoding: str) -> None:
        try:
            self._encoding = codecs.lookup(encoding).name
        except LookupError:
            raise ConfigError(
                f"unknown encoding '{encoding}'; known are utf-8, latin-1, cp1252, ..."
            ) from None
        self._stream, self._began, self._returns = stream, False, False
        self._decoder: codecs.IncrementalDecoder | None = None

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes, and return them as UTF-8; none at the end."""
        content = self._decoded(self._stream.read(size), size) if self._began else self._first(size)
        return content.replace(b"\r", b"\n") if self._returns else content

    def _first(self, size: int) -> bytes:
        """Read enough of the beginning to determine the encoding and the line end."""
        block, self._began = b"", True
        while len(block) < LONGEST_MARK and (more := self._stream.read(size)):
            block += more
        encoding = marked_encoding(block) if self._encoding == "utf-8" else self._encoding
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)()
        content = self._decoded(block, size)
        while b"\n" not in content and b"\r" not in content[:-1] and len(content) < LONGEST_FIRST_LINE:
            if not (more := self._decoded(self._stream.read(size), size)):
                break
            content += more
        first, _, rest = content.partition(b"\r")
        self._returns = len(first) < len(content) and b"\n" not in first and not rest.startswith(b"\n")
        return content.removeprefix(codecs.BOM_UTF8)

    def _decoded(self, block: bytes, size: int) -> bytes:
        if self._decoder is None:
            return block
        while block:
            if text := self._decoder.decode(block):
                return text.encode()
            block = self._stream.read(size)
        return self._decoder.decode(b"", final=True).encode()


class _Watched:
    """Stream that raises `DataError` for damaged files and updates a progress bar."""

    def __init__(self, file: Path, stream: Stream, raw: IO[bytes], bar: tqdm[Any]) -> None:
        self._file, self._stream, self._raw, self._bar = file, stream, raw, bar

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end."""
        try:
            content = self._stream.read(size)
        except UnicodeDecodeError as error:
            problem = f"is not {error.encoding} text: {error.reason}"
            raise DataError(self._file, problem, "Set its encoding with encoding=...") from None
        # Errors of the decompressors for a truncated or corrupted file.
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(self._file, f"is damaged: {_reason(error)}", COPY_AGAIN) from None
        self._bar.update(self._raw.tell() - self._bar.n)
        return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
