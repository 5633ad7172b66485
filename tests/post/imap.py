"""A small real IMAP server on loopback over TLS, with one folder of real messages."""

from __future__ import annotations

import re
import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread


@contextmanager
def serving_imap(
    messages: list[bytes], *, tls: ssl.SSLContext, password: str, named: bytes = b"Archive"
) -> Iterator[int]:
    """Serve ``messages`` in a folder of that name on the wire; yields the port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"* OK ready\r\n")
            logged_in = folder = False
            for line in iter(self.rfile.readline, b""):
                tag, command, *rest = line.strip().split(b" ", 2)
                text = rest[0] if rest else b""
                answer, lines = b"OK done", []
                if command == b"CAPABILITY":
                    lines = [b"* CAPABILITY IMAP4rev1"]
                elif command == b"LOGIN":
                    logged_in = text.endswith(f'"{password}"'.encode())
                    answer = answer if logged_in else b"NO " + text
                elif command == b"EXAMINE":
                    folder = logged_in and text == b'"%s"' % named
                    lines = [b"* %d EXISTS" % len(messages)] if folder else []
                    answer = answer if folder else b"NO no such folder"
                elif command == b"UID" and folder:
                    lines = _looked_up(messages, text)
                elif command == b"LOGOUT":
                    lines = [b"* BYE"]
                else:
                    answer = b"BAD what?"
                self.wfile.write(b"".join(part + b"\r\n" for part in [*lines, tag + b" " + answer]))
                if command == b"LOGOUT":
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that do not trust us are what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _looked_up(messages: list[bytes], text: bytes) -> list[bytes]:
    """The answer to ``FETCH number (BODY.PEEK[])``, or to a search for a Message-ID."""
    if text.startswith(b"FETCH "):
        number = int(text.split()[1])
        content = messages[number - 1]
        return [b"* %d FETCH (UID %d BODY[] {%d}" % (number, number, len(content)), content + b")"]
    asked = re.fullmatch(rb'SEARCH HEADER Message-ID "(.*)"', text)
    assert asked
    found = [n for n, m in enumerate(messages, 1) if b"Message-ID: " + asked[1] in m]
    return [b" ".join([b"* SEARCH", *(b"%d" % n for n in found)])]
