"""Warm kernels of this process: a zygote that belongs to it, and the kernels that the zygote has forked.

Each process that renders has a zygote of its own, which ends with it, so that a batch's workers share nothing
that could fail for all of them. A zygote has the environment that its kernels were asked to have: what is read from it
at an import is then right, and nothing else can leak.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
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


class NoWarmKernelError(Exception):
    """This process cannot have a warm kernel; the message says why, ``lasting`` whether the next one will fail, too."""

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Request:
    """A kernel to fork: its arguments, as after ``-m ipykernel_launcher``, and all that it sees of the world.

    ``memory_bytes`` limits its data segment, 0 does not; ``umask`` None keeps that of this process; ``sockets`` is
    a directory that goes when this process is killed. What all reports on ``snapshot`` share is worked out before.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    memory_bytes: int = 0
    umask: int | None = None
    sockets: str | None = None
    snapshot: str = ""


def prepare(environment: Mapping[str, str]) -> None:
    """Start the zygote for kernels with this environment and do not wait for it; it takes a second or two."""
    if sys.platform == "linux":
        with _lock, suppress(OSError):  # told when a kernel is wanted
            _zygote(environment)


def fork_kernel(request: Request) -> ForkedKernel:
    """Fork a kernel from this process's zygote, which is started, or replaced when it was killed.

    The kernel writes where this process writes.

    Raises
    ------
    NoWarmKernelError : there is no fork here, no zygote with a single thread, or no room for one more kernel.
    """
    if sys.platform != "linux":  # fork is unsafe with macOS's Accelerate, and missing on Windows
        raise NoWarmKernelError(f"kernels are not forked on {sys.platform}")
    with _lock:
        for _ in range(2):
            zygote = None
            try:
                zygote = _zygote(request.environment)
                return zygote.fork(request)
            except OSError as error:
                # Only a zygote that has ended is replaced: with one that lives all its kernels would end.
                if zygote is None or not isinstance(error, ConnectionError) or not zygote.has_ended():
                    raise NoWarmKernelError(str(error), lasting=False) from error
                zygote.close()
    raise NoWarmKernelError("the process that forks them was killed twice")


class ForkedKernel:
    """A kernel that the zygote has forked, with as much of :class:`subprocess.Popen` as Jupyter uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the kernel runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, at most ``timeout`` seconds.

        Raises
        ------
        subprocess.TimeoutExpired : it still runs.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal unless the kernel has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and _readable(self._status, timeout):
            try:
                told = self._status.recv(PACKET_BYTES)
            except OSError:
                told = b""
            # Nothing told: the zygote was killed, and the system kills its kernels with it.
            self.returncode = json.loads(told)["exit"] if told else -signal.SIGKILL
            self._status.close()
        return self.returncode


class _Zygote:
    """The process of :mod:`usagekit.report.zygote`, and the one socket that keeps it alive."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.owner = os.getpid()
        self._kernels: list[ForkedKernel] = []
        self._ready = False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_START_SECONDS)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-m", "usagekit.report.zygote", str(theirs.fileno())],
                env={**environment, **_ONE_THREAD},
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self._process.poll() is None and self.owner == os.getpid()

    def has_ended(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)  # its sockets close a moment before it is gone
        return not self.alive()

    def busy(self) -> bool:
        return bool(self._running())

    def _running(self) -> list[ForkedKernel]:
        return [kernel for kernel in self._kernels if kernel.poll() is None]

    def fork(self, request: Request) -> ForkedKernel:
        self._wait_until_ready()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_START_SECONDS)
        with theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            descriptors = [theirs.fileno(), nothing.fileno(), 1, 2]
            socket.send_fds(self._control, [json.dumps(asdict(request)).encode()], descriptors)
        try:
            answer = _heard(ours)
            _check_threads(answer)
            if "error" in answer:
                raise NoWarmKernelError(answer["error"], lasting=False)
        except BaseException:
            ours.close()
            raise
        kernel = ForkedKernel(answer["pid"], ours)
        self._kernels = [*self._running(), kernel]
        return kernel

    def _wait_until_ready(self) -> None:
        if not self._ready:
            try:
                _check_threads(_heard(self._control))
            except OSError as error:
                raise NoWarmKernelError(
                    "the process that forks them could not import what they need"
                ) from error
            self._ready = True

    def close(self) -> None:
        """End the zygote and with it its kernels."""
        self._control.close()
        if self.owner != os.getpid():
            return  # a copy made by a fork of this process: the zygote belongs to the original
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _readable(end: socket.socket, timeout: float | None) -> bool:
    """Whether something was told within ``timeout`` seconds, or the other end is closed; any number of descriptor."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(timeout and timeout * 1000))


def _heard(from_: socket.socket) -> dict[str, Any]:
    packet = from_.recv(PACKET_BYTES)
    if not packet:
        raise ConnectionResetError("the zygote has ended")
    message: dict[str, Any] = json.loads(packet)
    return message


def _check_threads(message: Mapping[str, Any]) -> None:
    threads = message.get("threads", 1)
    if threads != 1:
        raise NoWarmKernelError(f"the process that forks them has {threads} threads instead of 1")


_lock = threading.Lock()  # one at a time: of two that find no zygote, one must wait for the other's
_zygotes: dict[frozenset[tuple[str, str]], _Zygote] = {}


def _zygote(environment: Mapping[str, str]) -> _Zygote:
    """The zygote for an environment; others go when they are dead or have no kernel left."""
    lasting = {k: v for k, v in environment.items() if k != "IPYTHONDIR" and not k.startswith("JPY_")}
    key = frozenset(lasting.items())
    for other, zygote in list(_zygotes.items()):
        if not zygote.alive() or (other != key and not zygote.busy()):
            _zygotes.pop(other).close()
    if key not in _zygotes:
        _zygotes[key] = _Zygote(lasting)
    return _zygotes[key]


@atexit.register
def _close_all() -> None:
    for zygote in _zygotes.values():
        zygote.close()
