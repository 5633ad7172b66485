"""A server with small limits, and raw sockets that misuse it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from tests.strategies import tables
from tests.wire.conftest import TOKEN, hostile_lab
from usagekit.api.limits import Limits
from usagekit.api.server import create_app, serving
from usagekit.engine.store import write_store

AUTH = {"Authorization": f"Bearer {TOKEN}"}
MARCH = "start_date=20230301&end_date=20230331"
GOOD = f"/v1/usage/team?{MARCH}&metric=session_count"
HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"


@dataclass(frozen=True)
class Fire:
    """A served application and where it listens."""

    base_url: str
    app: Starlette
    store: Path

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def tell(self, raw: bytes) -> bytes:
        """Send bytes and read until the server closes; a reset counts as closing."""
        with self.connect() as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before it had all
                connection.sendall(raw)
            return read_all(connection)


@contextmanager
def on_fire(folder: Path, **limits: Any) -> Iterator[Fire]:
    """Serve the hostile lab with these limits."""
    store = folder / "store"
    if not store.exists():
        write_store(store, tables(hostile_lab()))
    app = create_app(store, token=TOKEN, limits=Limits(**limits))
    with serving(app) as base_url:
        yield Fire(base_url, app, store)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the connection is closed or reset."""
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def request(target: str, *, method: str = "GET", more: str = "", body: str = "") -> bytes:
    """A request with the right token, as bytes."""
    return f"{method} {target} HTTP/1.1\r\n{HEAD}{more}\r\n{body}".encode()


def statuses(answer: bytes) -> list[int]:
    """The status of each answer in what a connection received."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def refusal(answer: bytes) -> dict[str, Any]:
    """The JSON of the one error that was received, checked for its shape."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head, answer
    told: dict[str, Any] = json.loads(body)
    assert set(told) == {"status", "status_code", "detail"}
    assert [told["status_code"]] == statuses(answer)
    assert b"Traceback" not in body
    return told
