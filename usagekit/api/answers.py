"""Answers of the server: frames of the engine -> pieces of JSON and CSV, and the JSON of errors.

Rows are written by Polars, a slice at a time, never turned into dicts: columns until they are bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from http import HTTPStatus
from io import BytesIO
from itertools import chain
from typing import Final

import polars as pl
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from usagekit.api.work import Held
from usagekit.vocabulary import EVENT_CSV_HEADER, EVENT_KEYS

ROWS_PER_PIECE: Final = 2048
"""About 256 KiB of JSON: small enough to bound memory, large enough for the writer's full speed."""

_PIECE_BYTES: Final = 256 * 1024
_NOSNIFF: Final = {"X-Content-Type-Options": "nosniff"}
_NOT_STORED: Final = {**_NOSNIFF, "Cache-Control": "no-store"}


def usage_pieces(frame: pl.DataFrame, format: str) -> Iterator[bytes]:
    """Rows of an aggregation route, as ``json`` or ``csv``."""
    if format == "csv":
        return _csv_pieces(frame)
    return _json_pieces(_json_rows(part) for part in frame.iter_slices(ROWS_PER_PIECE))


def events_pieces(frame: pl.DataFrame, format: str) -> Iterator[bytes]:
    """Rows of the events route: a manual session has a user and an email, an automated one a team instead."""
    if format == "csv":
        automated = pl.col("automated")
        person = pl.when(automated).then("team").otherwise("user")
        email = pl.when(automated).then(pl.lit("N/A")).otherwise("email")
        # Aliased by position: two columns of the document come from two of ours each.
        cells = [person, email, *map(pl.col, EVENT_KEYS)]
        return _csv_pieces(frame, *(c.alias(n) for c, n in zip(cells, EVENT_CSV_HEADER, strict=True)))
    return _json_pieces(_json_events(part) for part in frame.iter_slices(ROWS_PER_PIECE))


def begin(pieces: Iterator[bytes], limit: int) -> tuple[bytes | None, Iterator[bytes]]:
    """Join pieces to a whole of about ``limit`` bytes at most; else None, and all pieces again."""
    first: list[bytes] = []
    size = 0
    for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size > limit:
            return None, chain(first, pieces)
    return b"".join(first), iter(())


def whole_answer(body: bytes, format: str, *, tag: str | None = None) -> Response:
    """An answer of known length; with a tag, the client may ask whether it is still the same."""
    headers = {**(_tagged(tag) if tag else _NOT_STORED), "Content-Length": str(len(body))}
    # In pieces as well: the time limit for a client that reads slowly is one for each piece.
    return StreamingResponse(_cut(body), headers=headers, media_type=_media_type(format))


class StreamedAnswer(StreamingResponse):
    """An answer whose pieces are made as the client takes them, and let go as soon as it stops."""

    def __init__(self, pieces: Held, format: str) -> None:
        super().__init__(pieces, headers=_NOT_STORED, media_type=_media_type(format))
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pieces.close()


def not_modified(tag: str) -> Response:
    """The client has this answer already."""
    return Response(status_code=304, headers=_tagged(tag))


def error_answer(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The JSON that every error has: the status in words and as a number, and what is wrong."""
    content = {"status": HTTPStatus(status).phrase, "status_code": status, "detail": detail}
    return JSONResponse(content, status_code=status, headers={**_NOT_STORED, **(headers or {})})


def _json_pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    yield b'{"report":['
    between = b""
    for rows in parts:
        yield between + rows
        between = b","
    yield b"]}"


def _json_rows(part: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    part.write_json(buffer)
    return buffer.getvalue()[1:-1]


def _json_events(part: pl.DataFrame) -> bytes:
    """Two kinds of rows, written apart and put in order again: faster than one expression for both."""
    automated = part["automated"]
    by_team = iter(_json_lines(part.filter(automated).select("team", *EVENT_KEYS)))
    by_user = iter(_json_lines(part.filter(~automated).select("user", "email", *EVENT_KEYS)))
    return b",".join([next(by_team) if is_automated else next(by_user) for is_automated in automated])


def _json_lines(part: pl.DataFrame) -> list[bytes]:
    buffer = BytesIO()
    part.write_ndjson(buffer)
    return buffer.getvalue().split(b"\n")


def _csv_pieces(frame: pl.DataFrame, *cells: pl.Expr) -> Iterator[bytes]:
    # Polars writes null as an empty field and the empty string as "".
    columns = cells or (pl.all(),)
    yield frame.clear().select(columns).write_csv().encode()
    for part in frame.iter_slices(ROWS_PER_PIECE):
        yield part.select(columns).write_csv(include_header=False).encode()


async def _cut(body: bytes) -> AsyncIterator[memoryview]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield memoryview(body)[start : start + _PIECE_BYTES]


def _tagged(tag: str) -> dict[str, str]:
    return {**_NOSNIFF, "Cache-Control": "private, no-cache", "ETag": f'"{tag}"'}


def _media_type(format: str) -> str:
    return "text/csv" if format == "csv" else "application/json"
