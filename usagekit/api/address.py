"""Addresses: the URL of a query, and the curl command that asks the same."""

from __future__ import annotations

import json
import shlex
from urllib.parse import quote, urlencode

from usagekit.query import EventsQuery, UsageQuery
from usagekit.vocabulary import DEFAULT_BASE_URL


def query_string(query: UsageQuery) -> str:
    """Path and parameters of a query, escaped as in the API's document: %20 and not +."""
    return f"{query.route.path}?{urlencode(query.to_params(), quote_via=quote, safe='/')}"


def curl(query: UsageQuery | EventsQuery, base_url: str = DEFAULT_BASE_URL) -> str:
    """The same question as a curl command, which takes the token from ``$HEADSPIN_API_TOKEN``."""
    command = 'curl -X GET -H "Authorization: Bearer $HEADSPIN_API_TOKEN" '
    base_url = base_url.rstrip("/")
    if isinstance(query, UsageQuery):
        return command + shlex.quote(base_url + query_string(query))
    body = shlex.quote(json.dumps(query.to_params(), ensure_ascii=False))
    return f"{command}{shlex.quote(base_url + query.path)} -d {body}"
