"""The process that forks warm kernels: it imports once what reports need, and from then on only forks.

``python -m usagekit.report.zygote FD`` is started by :mod:`usagekit.report.warm` and listens on the packet socket
``FD``; a worker of a batch has one that was forked together with it (:mod:`usagekit.report.nursery`). A request is one
packet of JSON with descriptors: where the end of the kernel is told, and the kernel's stdin, stdout and stderr.
The answer is ``{"pid": …}``, later ``{"exit": …}``. When the socket closes, its owner has ended: every kernel is
killed and the zygote ends too.

A zygote has one thread (:mod:`usagekit.report.rehearsal`); it says so, or why not, in its first packet.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from usagekit.report.rehearsal import prepare, work_ahead

PACKET_BYTES: Final = 1 << 20
_PR_SET_PDEATHSIG, _LOOK_SECONDS, _DESCRIPTORS = 1, 2.0, 4

Become = Callable[[dict[str, Any], list[int], int], NoReturn]
"""Turns a fresh fork into what a request asks for; it is given the request, the descriptors and who has forked it."""


@dataclass(frozen=True, slots=True)
class _Child:
    """What is kept of a process that was forked: where its end is told, and the directory of its sockets."""

    status: socket.socket
    sockets: str | None


def main() -> None:
    """Prepare, say so, and fork a kernel for every request until the owner's socket closes."""
    control, owner = called()
    serve(control, owner, partial(become_kernel, prepare()))


def called() -> tuple[socket.socket, int]:
    """The socket that this process was started with, and its owner."""
    if sys.path[:1] == [str(Path.cwd())]:
        del sys.path[0]  # put there by -m; a kernel must not import from where its zygote was started
    return socket.socket(fileno=int(sys.argv[1])), os.getppid()


def serve(control: socket.socket, owner: int, become: Become) -> None:
    """Fork for every request that comes, until ``control`` closes or the owner is no longer our parent."""
    _tell(control, {"threads": thread_count()})
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner
    children: dict[int, _Child] = {}
    watched = (
        select.poll()
    )  # any number of descriptor: an owner with a thousand open files hands on a high one
    watched.register(control, select.POLLIN)
    watched.register(woken, select.POLLIN)
    while os.getppid() == owner:  # a fork of the owner may hold its socket open
        ready = {descriptor for descriptor, _ in watched.poll(_LOOK_SECONDS * 1000)}
        if woken.fileno() in ready:
            with suppress(BlockingIOError):
                woken.recv(4096)
            _bury(children)
        if control.fileno() in ready:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, _DESCRIPTORS)
            except ConnectionResetError:
                message = b""
            if not message:
                break
            request = json.loads(message)
            if snapshot := request.get("snapshot"):
                work_ahead(snapshot)
            _fork(request, descriptors, children, become)
    for pid, child in children.items():
        _kill_group(pid)
        if child.sockets:
            shutil.rmtree(child.sockets, ignore_errors=True)


def thread_count() -> int:
    """Threads of this process, those of libraries too."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - asked before each fork


def _fork(
    request: dict[str, Any], descriptors: list[int], children: dict[int, _Child], become: Become
) -> None:
    if (
        len(descriptors) < request["descriptors"]
    ):  # there was no room for them: the owner sees its socket closed
        for descriptor in descriptors:
            os.close(descriptor)
        return
    status, forker = socket.socket(fileno=descriptors[0]), os.getpid()
    answer: dict[str, Any] = {"threads": thread_count()}
    try:
        pid = os.fork() if answer["threads"] == 1 else -1
    except OSError as error:  # no process or no memory is left: this one cannot be, the others go on
        pid, answer = -1, {"error": f"nothing can be forked: {error.strerror}"}
    if pid == 0:
        become(request, descriptors[1:], forker)
    _tell(status, {"pid": pid} if pid > 0 else answer)
    if pid > 0:
        children[pid] = _Child(status, request.get("sockets"))
    else:
        status.close()
    for descriptor in descriptors[1:]:
        os.close(descriptor)


def become_kernel(
    set_by_imports: dict[str, str], request: dict[str, Any], streams: list[int], zygote: int
) -> NoReturn:
    """Turn this copy of the zygote into the kernel that was asked for; never returns into the zygote's loop."""

    def live() -> None:
        request["environment"] = set_by_imports | request["environment"]
        _leave_zygote(request, streams, zygote)
        from ipykernel.kernelapp import IPKernelApp

        # Its default was read from the environment when ipykernel was imported, in the zygote.
        parent = f"--IPKernelApp.parent_handle={zygote}"
        IPKernelApp.launch_instance(argv=[*sys.argv[1:], parent])

    live_and_end(live)


def live_and_end(live: Callable[[], None]) -> NoReturn:
    """Do what a forked process is for, and end it without what its forker would do at its own end."""
    code = 1
    try:
        live()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - printed, and told by the exit code
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _leave_zygote(request: dict[str, Any], streams: list[int], zygote: int) -> None:
    if sys.platform == "linux":
        # The poll for a dead parent is a thread: a cell in C would keep it from running.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:  # it died before the line above, so nobody will tell
        os.kill(os.getpid(), signal.SIGKILL)
    become_own()
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["environment"], JPY_PARENT_PID=str(zygote))
    os.chdir(request["directory"])
    if request["umask"] is not None:
        os.umask(request["umask"])
    if request["memory_bytes"]:
        import resource  # missing on Windows, where this module is only read

        limit = request["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)  # type: ignore[misc] # noqa: SIM115
    sys.argv = ["ipykernel_launcher.py", *request["arguments"]]
    gc.unfreeze()


def become_own() -> None:
    """Have a session and random numbers of one's own, and none of the forker's signals."""
    import numpy as np

    np.random.seed(None)
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _bury(children: dict[int, _Child]) -> None:
    """Tell the end of each process that has ended; others that it left behind end with it."""
    while children and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        _kill_group(ended.si_pid)  # before it is reaped: until then nobody else can get its number
        _, status = os.waitpid(ended.si_pid, 0)
        child = children.pop(ended.si_pid)
        _tell(child.status, {"exit": os.waitstatus_to_exitcode(status)})
        child.status.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tell(to: socket.socket, what: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        to.send(json.dumps(what).encode())


if __name__ == "__main__":
    main()
