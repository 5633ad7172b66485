"""The process that forks warm kernels: it imports once what reports need, and from then on only forks.

``python -m usagekit.report.zygote FD`` is started by :mod:`usagekit.report.warm` and listens on the packet socket
``FD``. A request is one packet of JSON with four descriptors: where the end of the kernel is told, and the kernel's
stdin, stdout and stderr. The answer is ``{"pid": …}``, later ``{"exit": …}``. When the socket closes, its owner
has ended: every kernel is killed and the zygote ends too.

A fork copies one thread only and whatever locks the others hold, so the zygote has one thread and makes no ZeroMQ
context; it says so, or why not, in its first packet.
"""

from __future__ import annotations

import ctypes
import gc
import io
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from usagekit.errors import UsageKitError

PACKET_BYTES: Final = 1 << 20
INLINE: Final = "module://matplotlib_inline.backend_inline"

# Never matplotlib_inline.backend_inline itself: it hooks itself into the kernel that imports it, and there is none yet.
_LIBRARIES = (
    *(
        "ipykernel.kernelapp",
        "ipykernel.ipkernel",
        "ipykernel.zmqshell",
        "ipykernel.debugger",
        "tornado.queues",
    ),
    *("IPython.core.completer", "IPython.core.history", "IPython.core.magics", "IPython.core.pylabtools"),
    *(
        "numpy.random",
        "pandas",
        "pandas.io.formats.style",
        "pandas.io.parquet",
        "pyarrow.parquet",
        "pyarrow.dataset",
    ),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("pandas.core.arrays.arrow.extension_types", "PIL.PngImagePlugin", "jinja2", "sqlite3", "tzdata"),
)
_OURS = (
    *("usagekit.analysis", "usagekit.figures", "usagekit.lab", "usagekit.openers", "usagekit.snapshot"),
    *("usagekit.sample_lab", "usagekit.fetch", "usagekit.api.frames"),
)
_PR_SET_PDEATHSIG, _LOOK_SECONDS, _DESCRIPTORS = 1, 2.0, 4


@dataclass(frozen=True, slots=True)
class _Kernel:
    """What the zygote keeps of a kernel: where its end is told, and the directory of its sockets."""

    status: socket.socket
    sockets: str | None


def main() -> None:
    """Prepare, say so, and fork a kernel for every request until the owner's socket closes."""
    if sys.path[:1] == [str(Path.cwd())]:
        del sys.path[0]  # put there by -m; a kernel must not import from where its zygote was started
    control, owner = socket.socket(fileno=int(sys.argv[1])), os.getppid()
    before = set(os.environ)
    prepare()
    set_by_imports = {name: value for name, value in os.environ.items() if name not in before}
    _tell(control, {"threads": thread_count()})
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner
    kernels: dict[int, _Kernel] = {}
    while os.getppid() == owner:  # a fork of the owner may hold its socket open
        ready, _, _ = select.select([control, woken], [], [], _LOOK_SECONDS)
        if woken in ready:
            with suppress(BlockingIOError):
                woken.recv(4096)
            _bury(kernels)
        if control in ready:
            try:
                message, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, _DESCRIPTORS)
            except ConnectionResetError:
                message = b""
            if not message:
                break
            request = json.loads(message)
            _work_ahead(request.get("snapshot"))
            request["environment"] = set_by_imports | request["environment"]
            _fork(request, descriptors, kernels)
    for pid, kernel in kernels.items():
        _kill_group(pid)
        if kernel.sockets:
            shutil.rmtree(kernel.sockets, ignore_errors=True)


def prepare() -> None:
    """Import everything a report needs and load what is loaded once."""
    os.environ.setdefault("MPLBACKEND", INLINE)  # before matplotlib reads it: any other one shows no figures
    for name in _LIBRARIES:
        with suppress(ImportError):  # the kernel that needs it will say what is missing
            import_module(name)
    for name in _OURS:
        for module in pkgutil.iter_modules(getattr(import_module(name), "__path__", ()), f"{name}."):
            import_module(module.name)
    _rehearse()
    gc.collect()
    gc.freeze()  # the collector of a kernel would otherwise write to, and so copy, every page of ours


def _rehearse() -> None:
    """Draw and fill in once what every report draws and fills in: fonts are found, templates are compiled."""
    import pandas as pd

    from usagekit.figures import base, style

    with style.chart_style():
        drawing = style.canvas(20)
        axes = drawing.add_subplot()
        axes.plot([1, 2], label="a")
        axes.legend()
        axes.set_title("a")
        style.to_svg(drawing)
        drawing.savefig(io.BytesIO(), format="png")
    for template in base.environment().list_templates(extensions=["j2"]):
        base.environment().get_template(template)
    pd.DataFrame({"n": [1.0, 2.0], "k": ["x", "y"]}).groupby("k").agg(n=("n", "sum")).to_html()


@cache
def _work_ahead(snapshot: str | None) -> None:
    """Work out once what all reports on a snapshot share; whatever is wrong with it, their kernels will say."""
    from usagekit.reading.ahead import work_ahead

    if snapshot:
        with suppress(UsageKitError, OSError, ValueError, LookupError, TypeError, AttributeError):
            work_ahead(Path(snapshot))
        gc.freeze()


def thread_count() -> int:
    """Threads of this process, those of libraries too."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - asked before each fork


def _fork(request: dict[str, Any], descriptors: list[int], kernels: dict[int, _Kernel]) -> None:
    if len(descriptors) < _DESCRIPTORS:  # there was no room for them: the owner sees its socket closed
        for descriptor in descriptors:
            os.close(descriptor)
        return
    status, zygote = socket.socket(fileno=descriptors[0]), os.getpid()
    answer: dict[str, Any] = {"threads": thread_count()}
    try:
        pid = os.fork() if answer["threads"] == 1 else -1
    except OSError as error:  # no process or no memory is left: this one kernel cannot be, the others go on
        pid, answer = -1, {"error": f"no kernel can be forked: {error.strerror}"}
    if pid == 0:
        _become_kernel(request, descriptors[1:], zygote)
    _tell(status, {"pid": pid} if pid > 0 else answer)
    if pid > 0:
        kernels[pid] = _Kernel(status, request.get("sockets"))
    else:
        status.close()
    for descriptor in descriptors[1:]:
        os.close(descriptor)


def _become_kernel(request: dict[str, Any], streams: list[int], zygote: int) -> NoReturn:
    """Turn this copy of the zygote into the kernel that was asked for; never returns into the zygote's loop."""
    code = 1
    try:
        _leave_zygote(request, streams, zygote)
        from ipykernel.kernelapp import IPKernelApp

        # Its default was read from the environment when ipykernel was imported, in the zygote.
        parent = f"--IPKernelApp.parent_handle={zygote}"
        IPKernelApp.launch_instance(argv=[*sys.argv[1:], parent])
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
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
    import numpy as np

    np.random.seed(None)
    gc.unfreeze()


def _bury(kernels: dict[int, _Kernel]) -> None:
    """Tell the end of each kernel that has ended; processes that it left behind end with it."""
    while kernels and (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        _kill_group(ended.si_pid)  # before the kernel is reaped: until then nobody else can get its number
        _, status = os.waitpid(ended.si_pid, 0)
        kernel = kernels.pop(ended.si_pid)
        _tell(kernel.status, {"exit": os.waitstatus_to_exitcode(status)})
        kernel.status.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tell(to: socket.socket, what: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        to.send(json.dumps(what).encode())


if __name__ == "__main__":
    main()
