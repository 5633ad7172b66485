"""The owner's side of a process that forks others: its start, its one socket, its answers and its end."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from usagekit.report.zygote import PACKET_BYTES

# Each of these libraries starts threads when it is imported, and threads do not survive a fork.
_ONE_THREAD = {
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or the debugger, which ipykernel imports, prints advice
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_START_SECONDS = 60
_END_SECONDS = 2
_LOOK_SECONDS = 0.01


class CannotForkError(Exception):
    """Nothing can be forked; the message says why, ``lasting`` whether the next attempt will fail, too."""

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


class Child:
    """A child that was forked, not started, with as much of :class:`subprocess.Popen` as is used of a forker."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                pid, status = self.pid, 0
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, at most ``timeout`` seconds.

        Raises
        ------
        subprocess.TimeoutExpired : it still runs.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("zygote", timeout or 0)
            time.sleep(_LOOK_SECONDS)
        return code

    def kill(self) -> None:
        """End it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, 9)


class Forker:
    """A process that forks others on request, and the one socket that keeps it alive."""

    def __init__(self, process: subprocess.Popen[bytes] | Child, control: socket.socket) -> None:
        self.owner = os.getpid()
        self.process = process
        self._control = control
        self._control.settimeout(_START_SECONDS)
        self._ready = False

    def fileno(self) -> int:
        """Readable once it can fork, or has ended."""
        return self._control.fileno()

    def alive(self) -> bool:
        """Whether it runs, and is ours."""
        return self.owner == os.getpid() and self.process.poll() is None

    def has_ended(self) -> bool:
        """Whether it has ended; its sockets close a moment before it is gone."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)
        return not self.alive()

    def fork(
        self, request: Mapping[str, Any], descriptors: Sequence[int], *, patience: float = _START_SECONDS
    ) -> tuple[int, socket.socket]:
        """Let it fork; gives the number of the new process, and the socket on which its end will be told.

        Raises
        ------
        CannotForkError : it has more than one thread, no room, or could not import what it needs.
        OSError : it does not answer, or has ended.
        """
        self._wait_until_ready(patience)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            given = [theirs.fileno(), *descriptors]
            packet = json.dumps({**request, "descriptors": len(given)}).encode()
            socket.send_fds(self._control, [packet], given)
        try:
            answer = _heard(ours, patience)
            _check_threads(answer)
            if "error" in answer:
                raise CannotForkError(answer["error"], lasting=False)
        except BaseException:
            ours.close()
            raise
        return answer["pid"], ours

    def _wait_until_ready(self, patience: float) -> None:
        if not self._ready:
            try:
                _check_threads(_heard(self._control, patience))
            except OSError as error:
                raise CannotForkError(
                    "the process that forks them could not import what they need"
                ) from error
            self._ready = True

    def close(self) -> None:
        """End it, and with it all that it has forked."""
        self._control.close()
        if self.owner != os.getpid():
            return  # a copy made by a fork of this process: the forker belongs to the original
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(module: str, environment: Mapping[str, str], *arguments: str) -> Forker:
    """Start one: ``module`` runs in a process with this environment, and little else of this one's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                env={**environment, **_ONE_THREAD},
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
    except OSError:
        ours.close()
        raise
    return Forker(process, ours)


def told(status: socket.socket, timeout: float | None) -> dict[str, Any] | None:
    """What is told within ``timeout`` seconds, None if nothing is; empty when the other end is closed."""
    poll = select.poll()  # any number of descriptor
    poll.register(status, select.POLLIN)
    if not poll.poll(timeout and timeout * 1000):
        return None
    try:
        packet = status.recv(PACKET_BYTES)
    except OSError:
        packet = b""
    message: dict[str, Any] = json.loads(packet) if packet else {}
    return message


def _heard(from_: socket.socket, timeout: float) -> dict[str, Any]:
    message = told(from_, timeout)
    if message is None:
        raise TimeoutError("the forking process does not answer")
    if not message:
        raise ConnectionResetError("the forking process has ended")
    return message


def _check_threads(message: Mapping[str, Any]) -> None:
    threads = message.get("threads", 1)
    if threads != 1:
        raise CannotForkError(f"the process that forks them has {threads} threads instead of 1")
