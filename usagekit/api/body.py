"""What a request says, read strictly: the query string and the JSON body of the events route.

Whatever is not exactly right is a QueryError, so that bad input never becomes a 500 or another question.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from usagekit.errors import QueryError

MAX_QUERY_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 1024 * 1024
_DRAIN_BYTES: Final = 16 * MAX_BODY_BYTES
_TOO_LONG: Final = f"the body is longer than {MAX_BODY_BYTES // 1024} KiB"


def read_query_string(request: Request) -> list[tuple[str, str]]:
    """The parameters in order, repeated ones kept. 414 beyond 64 KiB."""
    raw: bytes = request.scope["query_string"]
    if len(raw) > MAX_QUERY_BYTES:
        raise HTTPException(414, f"the query string is longer than {MAX_QUERY_BYTES // 1024} KiB")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise QueryError("the query string is not percent-encoded UTF-8") from None


async def read_events_body(request: Request) -> dict[str, Any]:
    """The JSON object of the body, whatever its Content-Type; no body at all is an empty object."""
    if int(request.headers.get("content-length", "0")) > _DRAIN_BYTES:
        raise HTTPException(413, _TOO_LONG, headers={"Connection": "close"})
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        elif size > _DRAIN_BYTES:
            break
    # A body somewhat too long is still read to its end: a sender cut off in mid-send never sees the answer.
    if size > MAX_BODY_BYTES:
        raise HTTPException(413, _TOO_LONG, headers={"Connection": "close"})
    return parse_object(b"".join(chunks))


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object without repeated keys, NaN or broken text.

    >>> parse_object(b'{"format": "csv"}')
    {'format': 'csv'}
    """
    if not body.strip():
        return {}
    try:
        parsed = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        # Half a surrogate pair (backslash-u D800) is JSON but no text: nothing below could carry it.
        json.dumps(parsed, ensure_ascii=False).encode()
    except QueryError:
        raise
    except RecursionError:
        raise QueryError("the body is nested too deeply") from None
    except UnicodeError:
        raise QueryError("the body is not UTF-8 text") from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise QueryError(f"the body is not JSON{where}") from None
    if not isinstance(parsed, dict):
        raise QueryError('the body must be a JSON object such as {"start_date": "20230301"}')
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise QueryError(f"{twice[:60]!r} is given more than once", parameter=twice)
    return found


def _no_constant(name: str) -> NoReturn:
    raise QueryError(f"{name} is not JSON")
