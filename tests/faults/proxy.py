"""A TCP proxy that mistreats what passes: latency, bandwidth, slices, a cut at any byte, a reset."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from select import select
from threading import Thread
from time import sleep


@dataclass
class Proxy:
    """Passes connections on to ``upstream``; the toxics work on what comes back and may be changed at any time.

    ``latency`` (s) waits before each piece, ``slice_bytes`` makes pieces small, ``bytes_per_second`` slows
    them down, ``cut_after`` ends the connection after so many bytes, and ``reset`` makes that end a RST.
    """

    upstream: tuple[str, int]
    latency: float = 0.0
    slice_bytes: int = 65536
    bytes_per_second: float = float("inf")
    cut_after: int | None = None
    reset: bool = False
    connections: int = 0
    base_url: str = ""
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        # One thread a connection: close() waits for no other that still reads.
        with client, socket.create_connection(self.upstream) as server:
            with suppress(OSError):
                self._pass(client, server)
            if self.reset:
                # With a linger of zero, close() sends a RST.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        left = self.cut_after
        watched = [client, server]
        server.sendall(client.recv(65536))  # also where nothing comes back: the question has been asked
        while left is None or left > 0:
            ready, _, _ = select(watched, [], [])
            if client in ready:
                asked = client.recv(65536)
                if not asked:
                    watched.remove(client)
                    server.shutdown(socket.SHUT_WR)
                server.sendall(asked)
            if server in ready:
                piece = server.recv(self.slice_bytes if left is None else min(self.slice_bytes, left))
                if not piece:
                    return
                sleep(self.latency + len(piece) / self.bytes_per_second)
                client.sendall(piece)
                left = None if left is None else left - len(piece)


@contextmanager
def proxying(base_url: str) -> Iterator[Proxy]:
    """A proxy in front of a loopback server while the context lasts."""
    proxy = Proxy(("127.0.0.1", int(base_url.rsplit(":", 1)[1])))
    Thread(target=proxy.run, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
