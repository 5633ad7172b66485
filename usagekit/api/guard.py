"""The door of the server: what a request must have before anything else of it is looked at."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

from usagekit.api.answers import error_answer
from usagekit.api.limits import Limits
from usagekit.api.openapi import OPENAPI_PATH

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOST_HEADER: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
"""Names of this machine, which a Host header may always have."""


class Guard:
    """Refuses requests with an oversized or ambiguous head, for another host, or without the token.

    The Host is checked because a web page may point a name of its own at this machine (DNS rebinding).
    """

    def __init__(self, app: App, *, token: str, hosts: Iterable[str], limits: Limits) -> None:
        self._app = app
        self._token = token.strip().encode()
        self._hosts = {_plain_host(host) for host in (*LOOPBACK_NAMES, *hosts)}
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(scope) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> App | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        names = [name for name, _ in headers]
        close = {"Connection": "close"}
        if len(names) > self._limits.headers:
            return error_answer(
                431, f"more than {self._limits.headers} headers are not accepted", headers=close
            )
        if sum(len(name) + len(value) for name, value in headers) > self._limits.head_bytes:
            return error_answer(431, head_too_long(self._limits), headers=close)
        if b"content-length" in names and b"transfer-encoding" in names:
            # Two lengths, and two readers may choose differently: the rest could be taken for a request.
            return error_answer(400, "Content-Length and Transfer-Encoding exclude each other", headers=close)
        if not self._knows_host([value for name, value in headers if name == b"host"]):
            return error_answer(
                400, "the Host header names another host than this server's (allowed_hosts)", headers=close
            )
        if scope["path"] != OPENAPI_PATH and not self._admits(headers):
            return error_answer(
                401,
                "a valid token is required, as Authorization: Bearer <token>",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _knows_host(self, given: list[bytes]) -> bool:
        found = _HOST_HEADER.fullmatch(given[0].decode("latin-1").strip()) if len(given) == 1 else None
        return found is not None and _plain_host(found[1]) in self._hosts

    def _admits(self, headers: list[tuple[bytes, bytes]]) -> bool:
        given = [value for name, value in headers if name == b"authorization"]
        scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(secret.strip(), self._token)


def head_too_long(limits: Limits) -> str:
    """The detail of the 431 for a head of too many bytes."""
    return f"a request's head of more than {limits.head_bytes // 1024} KiB is not accepted"


def _plain_host(host: str) -> str:
    """A host in lower case, without its brackets.

    >>> _plain_host("[::1]"), _plain_host("Lab.Example.com.")
    ('::1', 'lab.example.com')
    """
    return host.lower().removeprefix("[").removesuffix("]").removesuffix(".")
