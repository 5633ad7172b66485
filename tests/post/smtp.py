"""A real SMTP server on loopback whose every answer a test decides, and a proxy that cuts the dialogue at any byte."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from select import select
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.faults.proxy import Proxy

PASSWORD = "canary-5ec2e7-password"


@dataclass
class Mailboxes:
    """What the server took, and how it answers: ``rcpt`` and ``data`` map a recipient to a reply, "" is 250.

    As long as a recipient is in ``silent_after_data``, a message for it is taken and gets no answer.
    """

    rcpt: Callable[[str], str] = lambda _: ""
    data: Callable[[str], str] = lambda _: ""
    silent_after_data: set[str] = field(default_factory=set)
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    logins: int = 0
    port: int = 0

    async def handle_RCPT(
        self, _s: SMTP, _session: Session, envelope: Envelope, address: str, _o: Any
    ) -> str:
        if reply := self.rcpt(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _s: SMTP, _session: Session, envelope: Envelope) -> str:
        (recipient,) = envelope.rcpt_tos
        if reply := self.data(recipient):
            return reply
        self.taken.append((recipient, bytes(envelope.content or b"")))
        while recipient in self.silent_after_data:
            await asyncio.sleep(0.02)
        return "250 taken"

    def to(self, recipient: str) -> int:
        return sum(to == recipient for to, _ in self.taken)


@contextmanager
def serving_smtp(
    boxes: Mailboxes | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    login: bool = False,
    limit: int = 2**25,
) -> Iterator[Mailboxes]:
    """Serve mailboxes from a thread; ``tls`` offers STARTTLS."""
    boxes = boxes or Mailboxes()

    def check(
        _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        boxes.logins += 1
        good = isinstance(given, LoginPassword) and given.password == PASSWORD.encode()
        return AuthResult(success=good, handled=False)

    with socket.create_server(("127.0.0.1", 0)) as free:
        boxes.port = free.getsockname()[1]
    options: dict[str, Any] = {"data_size_limit": limit, "enable_SMTPUTF8": False}
    if tls:
        options |= {"tls_context": tls, "require_starttls": True}
    if login:
        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": tls is not None}
    controller = Controller(boxes, "127.0.0.1", boxes.port, **options)
    controller.start()
    try:
        yield boxes
    finally:
        controller.stop(no_assert=True)


@contextmanager
def answering(replies: dict[str, bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says what it is told to each command, and "." to a whole message; yields its port and the messages."""
    taken: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 scripted\r\n")
            for line in iter(self.rfile.readline, b""):
                verb = line[:4].decode().upper()
                reply = replies.get(verb, b"354 go on" if verb == "DATA" else b"250 ok")
                self.wfile.write(reply + b"\r\n")
                if verb == "DATA" and reply.startswith(b"354"):
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    taken.append(b"".join(lines))
                    self.wfile.write(replies.get(".", b"250 ok") + b"\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server.server_address[1], taken
        finally:
            server.shutdown()


class MailProxy(Proxy):
    """Passes a dialogue in which the server speaks first; cuts after so many bytes of one side.

    ``cut_after`` counts the server's bytes as in its base, ``cut_sent_after`` the client's.
    """

    cut_sent_after: int | None = None
    sent: int = 0
    received: int = 0

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        sent, received = [0], [0]
        ways = {client: (server, sent, self.cut_sent_after), server: (client, received, self.cut_after)}
        while True:
            for source in select(list(ways), [], [])[0]:
                target, passed, cut = ways[source]
                left = 65536 if cut is None else min(65536, cut - passed[0])
                if left <= 0:
                    return
                piece = source.recv(left)
                if not piece:
                    return
                target.sendall(piece)
                passed[0] += len(piece)
                self.sent, self.received = max(self.sent, sent[0]), max(self.received, received[0])
                if passed[0] == cut:
                    return


@contextmanager
def cutting(port: int) -> Iterator[MailProxy]:
    """A proxy in front of an SMTP server while the context lasts."""
    proxy = MailProxy(("127.0.0.1", port))
    threading.Thread(target=proxy.run, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()


def port_of(proxy: MailProxy) -> int:
    return int(proxy.base_url.rsplit(":", 1)[1])
