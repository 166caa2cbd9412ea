"""Strict reading of files: any problem raises a `DataError` that names the file and line."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.values import is_missing
from spike_dgl.errors import DataError
from spike_dgl.typing import IndexArray

ENCODINGS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is a prefix of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encoding by byte order mark; UTF-8 text may have a mark too, or none."""
LONGEST_NUMBER = 18  # digits that always fit into int64
PARSED_AT_ONCE = 1 << 24  # bytes; parsing takes about 30 times their memory
COPY_AGAIN = "Get the file again from its source; this copy is damaged or incomplete."


@dataclass(frozen=True)
class IntegerLines:
    """Whole numbers of a text file in reading order, `values` [n], with the line of each, `lines` [n]."""

    values: IndexArray
    lines: IndexArray

    def firsts(self) -> NDArray[np.bool_]:
        """True [n] where a value is the first of its line."""
        first = np.ones(len(self.lines), dtype=bool)
        first[1:] = self.lines[1:] != self.lines[:-1]
        return first


def sha256_of(stream: IO[bytes]) -> str:
    """Return the SHA-256 (hex) of the rest of a stream."""
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def sha256_of_file(file: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with file.open("rb") as stream:
        return sha256_of(stream)


def shorten(text: str, length: int = 40) -> str:
    """Return text in quotes, shortened for an error message."""
    return repr(text if len(text) <= length else text[:length] + "...")


def no_match(file: Path, rows: int, what: str, example: str, known: str, known_from: str) -> DataError:
    """Return the error for a table that has no id in common with the data; shows an example id of each."""
    if not rows:
        return DataError(file, "has no rows", "Check that it is the right file.")
    sides = f"{what} is {shorten(example)} here and {shorten(known)} there"
    problem = f"none of its {rows:,} rows matches {known_from}: {sides}"
    return DataError(file, problem, "Name the file or column that has the same ids, or spell the ids alike.")


def read_bytes(file: Path) -> bytes:
    """Return the content of a text file as UTF-8 with newline characters as line ends.

    Raises `DataError` if it is missing, unreadable or empty.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(file, "is not a whole gzip file", COPY_AGAIN) from None
    except FileNotFoundError:
        raise DataError(file, "no such file", "Put the file there, or correct the path.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(file, f"cannot be read: {reason}", "Check that it is a file you may read.") from None
    return _text_bytes(file, content)


def read_zip_member(file: Path, member: str) -> bytes:
    """Return the content of a zip archive's member with that file name, in any folder of the archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            found = [name for name in names if PurePosixPath(name).name == member]
            content = archive.read(found[0]) if len(found) == 1 else b""
    # A damaged archive makes zipfile raise almost anything, zlib.error and NotImplementedError included.
    except Exception as error:
        raise DataError(file, f"not a readable zip archive ({error})", COPY_AGAIN) from None
    if len(found) != 1:
        holds = ", ".join(shorten(name) for name in names[:5]) or "nothing"
        problem = f"expected one member named {member}, found {len(found)}; the archive has {holds}"
        raise DataError(file, problem, f"Zip {member} alone: zip {file.name} {member}")
    return _text_bytes(file, content)


def read_text(file: Path) -> str:
    """Return a UTF-8 text file with newline characters as line ends."""
    content = read_bytes(file)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(file, "not UTF-8 text", "Save the file with the encoding UTF-8.", line) from None


def read_lines(file: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, at least one, without empty lines at the end."""
    text = read_text(file).rstrip("\n")
    if not text:
        _empty(file)
    return text.split("\n")


def parse_integers(file: Path, content: bytes, *, signed: bool = False) -> IntegerLines:
    """Parse a text of whole numbers separated by white space.

    Parameters
    ----------
    file, content
        File that the text is from, for messages, and its content.
    signed
        Whether numbers may be negative.

    Raises
    ------
    DataError
        If there is no number, or anything that is not a whole number.
    """
    parts, position, lines = [], 0, 0
    while position < len(content):
        after = content.find(b"\n", position + PARSED_AT_ONCE) + 1 or len(content)
        part = _integers(file, content, position, after, signed)
        parts.append(IntegerLines(part.values, part.lines + lines))
        lines += content.count(b"\n", position, after)
        position = after
    if not any(len(part.values) for part in parts):
        _empty(file)
    return IntegerLines(
        np.concatenate([part.values for part in parts]), np.concatenate([part.lines for part in parts])
    )


def _integers(file: Path, content: bytes, start: int, end: int, signed: bool) -> IntegerLines:
    """Parse whole lines of the content, whose lines count from 1."""
    codes = np.frombuffer(content, dtype=np.uint8, count=end - start, offset=start)
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    blank = (codes == ord(" ")) | (codes == ord("\t")) | (codes == ord("\n"))
    allowed = digit | blank
    if signed:
        allowed |= (codes == ord("-")) & np.r_[True, blank[:-1]] & np.r_[digit[1:], False]
    if not allowed.all():
        _not_an_integer(file, content, start + int(allowed.argmin()), signed)
    previous, following = np.r_[False, digit[:-1]], np.r_[digit[1:], False]
    starts, ends = np.flatnonzero(digit & ~previous), np.flatnonzero(digit & ~following)
    too_long = ends - starts >= LONGEST_NUMBER
    if too_long.any():
        _not_an_integer(file, content, start + int(starts[too_long.argmax()]), signed)
    lines = (np.cumsum(codes == ord("\n")) + 1)[starts]
    text = content[start:end].decode("ascii")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if len(starts) else np.empty(0, np.int64)
    return IntegerLines(values, lines)


def read_integers(file: Path, *, signed: bool = False) -> IntegerLines:
    """Read a file of whole numbers; see `parse_integers`."""
    return parse_integers(file, read_bytes(file), signed=signed)


def read_text_map(file: Path) -> dict[int, str]:
    """Read a JSON object that maps row numbers to texts, such as ``{"0": "A paragraph."}``.

    Missing values (`spike_dgl.data.values.is_missing`) are left out.
    """
    text = read_text(file)
    try:
        pairs = json.loads(text, object_pairs_hook=tuple)  # tuples keep keys that occur twice
    except json.JSONDecodeError as error:
        raise DataError(file, f"broken JSON: {error.msg}", COPY_AGAIN, error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise DataError(file, f"broken JSON: {error}", COPY_AGAIN) from None
    remedy = 'Expected an object from ids to texts, such as {"0": "A paragraph."}.'
    if not isinstance(pairs, tuple):
        raise DataError(file, f"is {_json_kind(pairs)}, not an object", remedy)
    texts: dict[int, str] = {}
    for key, value in pairs:
        row = _row_number(file, key, remedy)
        if row in texts:
            raise DataError(file, f"the id {row} occurs twice", "Keep one of the two entries.")
        texts[row] = _checked_text(file, key, value)
    return {row: value for row, value in texts.items() if not is_missing(value)}


def read_arrays(file: Path, names: Iterable[str], optional: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    """Return arrays of an npz file by name, including those of `optional` that it has. Never unpickles."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            held = list(archive.keys())
            arrays = {name: np.asarray(archive[name]) for name in (*names, *optional) if name in held}
    except FileNotFoundError:
        raise DataError(file, "no such file", "Put the file there, or correct the path.") from None
    # A damaged file makes numpy and zipfile raise almost anything, up to MemoryError for a mangled shape.
    except Exception as error:
        raise DataError(file, f"not a readable npz file ({error})", COPY_AGAIN) from None
    for name in names:
        if name not in arrays:
            problem = f"has no array named '{name}', only {', '.join(map(shorten, held)) or 'none'}"
            raise DataError(file, problem, f"Save it with numpy.savez(file, {name}=...).")
    return arrays


def marked_encoding(start: bytes) -> str:
    """Return the encoding given by the byte order mark at the start of a text; UTF-8 without a mark."""
    return next((encoding for mark, encoding in ENCODINGS.items() if start.startswith(mark)), "utf-8")


def _text_bytes(file: Path, content: bytes) -> bytes:
    encoding = marked_encoding(content)
    if encoding != "utf-8":
        try:
            content = content.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise DataError(
                file,
                f"starts with the byte order mark of {encoding}, but is not {encoding} text: {error}",
                COPY_AGAIN,
            ) from None
    content = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not content:
        _empty(file)
    return content


def _empty(file: Path) -> NoReturn:
    raise DataError(file, "is empty", COPY_AGAIN)


def _not_an_integer(file: Path, content: bytes, position: int, signed: bool) -> NoReturn:
    """Raise the error for the token at a position of the content."""
    line = content.count(b"\n", 0, position) + 1
    before = re.split(rb"[ \t\n]", content[max(0, position - 100) : position])[-1]
    after = re.split(rb"[ \t\n]", content[position : position + 100])[0]
    token = (before + after).decode("utf-8", errors="replace")
    problem = f"expected a whole number{'' if signed else ' of 0 or more'}, found {shorten(token)}"
    if token.isascii() and token.isdigit():
        problem = f"the number {shorten(token)} is too large"
    remedy = "Ids in this file are row numbers that count from 0."
    raise DataError(file, problem, "Times are whole seconds since 1970." if signed else remedy, line)


def _row_number(file: Path, key: str, remedy: str) -> int:
    number = key.removesuffix(".0")
    if not (number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER):
        raise DataError(file, f"the id {shorten(key)} is not a row number counted from 0", remedy)
    return int(number)


def _json_kind(value: object) -> str:
    """Return the JSON type of a value; objects are parsed as tuples here."""
    names = {type(None): "null", tuple: "an object", list: "a list", bool: "true or false", str: "a text"}
    return names.get(type(value), "a number")


def _checked_text(file: Path, key: str, value: object) -> str:
    if not isinstance(value, str):
        found = _json_kind(value)
        remedy = "Remove the entry, or write its text; a null can come from a failed request."
        raise DataError(file, f"the id {shorten(key)} has {found}, expected a text", remedy)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            file, f"the text of id {shorten(key)} has an incomplete character", COPY_AGAIN
        ) from None
    return value
