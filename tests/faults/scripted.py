"""A real HTTP server on loopback whose every answer a test decides."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request: path, parameters, JSON body, headers (any case) and when it came (monotonic, s)."""

    path: str
    params: dict[str, str]
    body: dict[str, Any]
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True)
class Reply:
    """Status, headers and body of an answer."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], Reply]


@dataclass
class Scripted:
    """Where the server is and what it was asked."""

    base_url: str = ""
    asked: list[Asked] = field(default_factory=list)


def rows(*items: Mapping[str, Any]) -> Reply:
    return Reply(json.dumps({"report": items}).encode())


@contextmanager
def scripted(answer: Answer, *, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve ``answer`` from a thread while the context lasts."""
    server = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one segment an answer

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            asked = Asked(
                url.path, dict(parse_qsl(url.query)), json.loads(body or b"{}"), self.headers, monotonic()
            )
            server.asked.append(asked)
            reply = answer(asked)
            self.send_response_only(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that hang up are what is tested."""

    with Server(("127.0.0.1", 0), Handler) as listening:
        if tls:
            listening.socket = tls.wrap_socket(
                listening.socket, server_side=True, do_handshake_on_connect=False
            )
        server.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{listening.server_address[1]}"
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
