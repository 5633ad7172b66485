"""Answers of the server: frames of the engine -> JSON and CSV bytes, and the JSON of errors.

Rows are written by Polars, never turned into dicts: a whole month stays columns until it is bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Final

import polars as pl
from starlette.responses import JSONResponse, Response

from usagekit.vocabulary import EVENT_CSV_HEADER, EVENT_KEYS

_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def usage_answer(frame: pl.DataFrame, format: str) -> Response:
    """Rows of an aggregation route, as ``json`` or ``csv``."""
    if format == "csv":
        return _csv(frame)
    buffer = BytesIO(b'{"report":')
    buffer.seek(0, 2)
    frame.write_json(buffer)
    buffer.write(b"}")
    return Response(buffer.getvalue(), media_type="application/json", headers=_HEADERS)


def events_answer(frame: pl.DataFrame, format: str) -> Response:
    """Rows of the events route: a manual session has a user and an email, an automated one a team instead."""
    automated = pl.col("automated")
    if format == "csv":
        person = pl.when(automated).then("team").otherwise("user")
        email = pl.when(automated).then(pl.lit("N/A")).otherwise("email")
        # Aliased by position: two columns of the document come from two of ours each.
        cells = [person, email, *map(pl.col, EVENT_KEYS)]
        return _csv(frame.select(c.alias(n) for c, n in zip(cells, EVENT_CSV_HEADER, strict=True)))
    rows = frame.select(
        pl.when(automated)
        .then(pl.struct("team", *EVENT_KEYS).struct.json_encode())
        .otherwise(pl.struct("user", "email", *EVENT_KEYS).struct.json_encode())
        .alias("row")
    )
    body = '{"report":[' + ",".join(rows["row"]) + "]}"
    return Response(body, media_type="application/json", headers=_HEADERS)


def error_answer(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The JSON that every error has: the status in words and as a number, and what is wrong."""
    content = {"status": HTTPStatus(status).phrase, "status_code": status, "detail": detail}
    return JSONResponse(content, status_code=status, headers={**_HEADERS, **(headers or {})})


def _csv(frame: pl.DataFrame) -> Response:
    # Polars writes null as an empty field and the empty string as "".
    return Response(frame.write_csv(), media_type="text/csv", headers=_HEADERS)
