"""The body of an answer: whole or not at all, then the rows in it.

Bodies are decompressed here and not by the HTTP library, which takes a gzip stream cut short for a whole one.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final
from urllib.parse import quote

from usagekit.errors import SchemaError

_STEP_BYTES: Final = 1024**2
_HONEST_BYTES: Final = 16 * 1024**2
_HONEST_RATIO: Final = 300
"""Rows of nothing but zeros shrink some sixtyfold; a bomb a thousandfold."""


class CutError(Exception):
    """The body is not whole."""


class UnreadableError(Exception):
    """The body is whole and cannot be an answer: too large, oddly encoded or a web page."""


class Unpacker:
    """Collects the raw pieces of one body and gives the decoded whole.

    Neither the raw nor the decoded bytes may be more than ``limit``, nor swell as no honest answer does.
    """

    def __init__(self, encoding: str, *, limit: int) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        names = [name for name in names if name not in ("", "identity")]
        if names not in ([], ["gzip"], ["x-gzip"]):
            raise UnreadableError("it is compressed in a way that was not asked for")
        self._stream = zlib.decompressobj(wbits=31) if names else None
        self._limit = limit
        self._raw_size = 0
        self._size = 0
        self._pieces: list[bytes] = []

    def feed(self, raw: bytes) -> None:
        """Take the next raw bytes. Raises CutError on a damaged stream, UnreadableError beyond a limit."""
        self._raw_size += len(raw)
        if self._stream is None:
            self._keep(raw)
            return
        while raw:
            if self._stream.eof:  # gzip allows several members, one after the other
                self._stream = zlib.decompressobj(wbits=31)
            try:
                piece = self._stream.decompress(raw, _STEP_BYTES)
            except zlib.error:
                raise CutError("its gzip stream is damaged") from None
            self._keep(piece)
            raw = self._stream.unused_data or self._stream.unconsumed_tail

    def finish(self) -> bytes:
        """The whole body. Raises CutError when a gzip stream has not come to its end and checksum."""
        if self._stream is not None and not self._stream.eof:
            raise CutError("its gzip stream ends too early")
        return b"".join(self._pieces)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if max(self._size, self._raw_size) > self._limit:
            raise UnreadableError(f"it is larger than {self._limit // 1024**2} MiB; ask for a shorter range")
        if self._size > _HONEST_BYTES + _HONEST_RATIO * self._raw_size:
            raise UnreadableError(f"it swells more than {_HONEST_RATIO}-fold when it is unpacked")
        self._pieces.append(piece)


def rows_of(body: bytes, *, secret: str) -> list[dict[str, Any]]:
    """The rows in the JSON of an answer.

    Raises
    ------
    CutError
        The JSON ends in the middle.
    UnreadableError
        It is a web page.
    SchemaError
        It is not an object with a list ``report`` of objects; says what it is instead.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith(b"\x1f\x8b"):
        raise UnreadableError("it is compressed once more than it says")
    if text.startswith(b"<"):
        raise UnreadableError(f"it is a web page: {printable(text, secret=secret, length=80)!r}")
    if not text:
        raise CutError("it is empty")
    if text.startswith(b"{") and not text.endswith(b"}"):
        raise CutError("its JSON ends too early")
    answer = _parse(text)
    rows = answer.get("report") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise SchemaError("the answer is not an object with a list 'report'", missing=["report"])
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise SchemaError(f"row {number} of the answer is a {type(row).__name__}, not an object")
    return rows


def _parse(text: bytes) -> object:
    try:
        answer: object = json.loads(text.decode(), parse_constant=_constant, object_pairs_hook=_once)
        if b"\\ud" in text.lower():  # half a surrogate pair is JSON but no text: it could not be kept
            json.dumps(answer, ensure_ascii=False).encode()
    except UnicodeError:
        raise SchemaError("the answer is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.pos >= len(error.doc):
            raise CutError("its JSON ends too early") from None
        raise SchemaError("the answer is not JSON") from None
    return answer


def detail_of(body: bytes, *, secret: str) -> str:
    """What the body of an error says, in at most 200 printable characters without secret and query strings."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return printable(body, secret=secret, length=80)
    if isinstance(told, dict):
        told = next((told[key] for key in ("detail", "message", "error") if key in told), "")
    return printable(str(told).encode(errors="replace"), secret=secret, length=200)


def printable(body: bytes, *, secret: str, length: int) -> str:
    """The first printable characters of something that came from outside."""
    text = body[:65536].decode(errors="replace")
    for form in {secret, quote(secret, safe="")}:
        text = text.replace(form, "***")
    text = re.sub(r"\?[^\s?=&]+=\S*", "?…", text)
    shown = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object; of two values under one name nobody knows which is meant."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise SchemaError("the answer has an object that names a value twice")
    return made


def _constant(name: str) -> None:
    if name != "NaN":  # which some JSON writers put where a mean has no value
        raise ValueError(name)
