"""Warm kernels of this process: a zygote that belongs to it, and the kernels that the zygote has forked.

Each process that renders has a zygote of its own, which ends with it, so that a batch's workers share nothing
that could fail for all of them. A zygote has the environment that its kernels were asked to have: what is read from it
at an import is then right, and nothing else can leak.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from usagekit.report import forker
from usagekit.report.forker import CannotForkError, Forker


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


def adopt(environment: Mapping[str, str], own: Forker) -> None:
    """Take a process that forks kernels with this environment, and was not started here, as this process's zygote."""
    with _lock:
        _zygotes[frozenset(_lasting(environment).items())] = _Zygote(own)


def fork_kernel(request: Request) -> ForkedKernel:
    """Fork a kernel from this process's zygote, which is started, or replaced when it was killed.

    The kernel writes where this process writes.

    Raises
    ------
    CannotForkError : there is no fork here, no zygote with a single thread, or no room for one more kernel.
    """
    if sys.platform != "linux":  # fork is unsafe with macOS's Accelerate, and missing on Windows
        raise CannotForkError(f"kernels are not forked on {sys.platform}")
    with _lock:
        for _ in range(2):
            zygote = None
            try:
                zygote = _zygote(request.environment)
                return zygote.fork(request)
            except OSError as error:
                # Only a zygote that has ended is replaced: with one that lives all its kernels would end.
                if zygote is None or not isinstance(error, ConnectionError) or not zygote.own.has_ended():
                    raise CannotForkError(str(error), lasting=False) from error
                zygote.own.close()
    raise CannotForkError("the process that forks them was killed twice")


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
        if self.returncode is None and (told := forker.told(self._status, timeout)) is not None:
            # Nothing told: the zygote was killed, and the system kills its kernels with it.
            self.returncode = told.get("exit", -signal.SIGKILL)
            self._status.close()
        return self.returncode


class _Zygote:
    """A process of :mod:`usagekit.report.zygote`, and the kernels that it has forked."""

    def __init__(self, own: Forker) -> None:
        self.own = own
        self._kernels: list[ForkedKernel] = []

    def busy(self) -> bool:
        return bool(self._running())

    def _running(self) -> list[ForkedKernel]:
        return [kernel for kernel in self._kernels if kernel.poll() is None]

    def fork(self, request: Request) -> ForkedKernel:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123
            kernel = ForkedKernel(*self.own.fork(asdict(request), [nothing.fileno(), 1, 2]))
        self._kernels = [*self._running(), kernel]
        return kernel


_lock = threading.Lock()  # one at a time: of two that find no zygote, one must wait for the other's
_zygotes: dict[frozenset[tuple[str, str]], _Zygote] = {}


def _zygote(environment: Mapping[str, str]) -> _Zygote:
    """The zygote for an environment; others go when they are dead or have no kernel left."""
    lasting = _lasting(environment)
    key = frozenset(lasting.items())
    for other, zygote in list(_zygotes.items()):
        if not zygote.own.alive() or (other != key and not zygote.busy()):
            _zygotes.pop(other).own.close()
    if key not in _zygotes:
        _zygotes[key] = _Zygote(forker.start("usagekit.report.zygote", lasting))
    return _zygotes[key]


def _lasting(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k != "IPYTHONDIR" and not k.startswith("JPY_")}


@atexit.register
def _close_all() -> None:
    for zygote in _zygotes.values():
        zygote.own.close()
