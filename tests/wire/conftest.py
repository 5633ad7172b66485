"""A lab with hostile names behind a real uvicorn, and a raw socket server that answers with any bytes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from tests.conftest import session
from tests.oracle import Lab
from tests.strategies import tables
from usagekit.api.server import create_app, serving
from usagekit.engine.store import Store, write_store

TOKEN = "canary-7f3a"
HOSTILE = (
    "NA",
    "null",
    "R&D / Café, “x”",
    "チーム",
    "🙂",
    "<script>alert(1)</script>",
    '#read("x")',
    "a\r\nb",
    "=1+1",
    "",
)


def hostile_lab() -> Lab:
    """One manual and one automated session for every hostile team name, and what they refer to."""
    sessions = []
    for number, team in enumerate(HOSTILE):
        day = f"2023-03-{number + 1:02}"
        person = {"email": f"p{number}@example.com", "user": team, "team": team}
        sessions += [
            session(2 * number, f"{day} 09:00", f"{day} 09:20:{number:02}", **person),
            session(
                2 * number + 1, f"{day} 23:30", f"{day} 23:59", automated=True, hostname="lab-2", **person
            ),
        ]
    twin = session(900, "2023-03-05 10:00", "2023-03-05 10:30")
    sessions += [twin, twin | {"session_id": "s901"}, session(902, "2023-03-06 10:00", None)]
    phone = {
        "device_id": "00123",
        "hostname": "lab-1",
        "model": "Pixel 8",
        "os": "Android",
        "form_factor": "phone",
    }
    return Lab(
        sessions=sessions,
        devices=[phone, phone | {"hostname": "lab-2", "model": "Pixel 9"}],
        hosts=[{"hostname": "lab-1", "country": "DE"}, {"hostname": "lab-2", "country": "JP"}],
        users=[{"email": "p1@example.com", "user": "Ana", "notes": "on leave"}],
        memberships=[{"email": "p1@example.com", "team": team} for team in HOSTILE],
        teams=[{"team": team} for team in HOSTILE],
    )


@dataclass(frozen=True)
class Served:
    """A lab, the store that holds it and where it is served."""

    base_url: str
    lab: Lab
    store: Store


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path: Path = tmp_path_factory.mktemp("served") / "store"
    lab = hostile_lab()
    store = write_store(path, tables(lab))
    with serving(create_app(path, token=TOKEN)) as base_url:
        yield Served(base_url, lab, store)


@dataclass
class RawServer:
    """Answers each connection with the next bytes (the last ones again and again), then closes it."""

    base_url: str
    requests: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


Answer = Callable[[socket.socket], None] | bytes


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Start a socket server that sends the given bytes, whole or broken, one answer a connection."""
    listeners: list[socket.socket] = []

    def start(*answers: Answer) -> RawServer:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        raw = RawServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        Thread(target=_answer_all, args=(listener, raw, answers), daemon=True).start()
        return raw

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _answer_all(listener: socket.socket, raw: RawServer, answers: tuple[Answer, ...]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            answer = answers[min(len(raw.requests), len(answers) - 1)]
            raw.requests.append(head)
            raw.times.append(monotonic())
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An HTTP/1.1 answer whose Content-Length is right unless told otherwise."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
