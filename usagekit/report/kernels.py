"""Kernels for Jupyter, papermill and nbclient: forked from a process that has imported everything, or started cold.

The kernel provisioner ``usagekit`` (entry point ``jupyter_client.kernel_provisioners``) stands in the kernel
specification ``usagekit``, which JupyterLab lists as "usagekit (warm)"; reports name it themselves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar, Final

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Int, Unicode

from usagekit.report.forker import CannotForkError
from usagekit.report.warm import Request, fork_kernel

PROVISIONER: Final = "usagekit"
_LAUNCHER = ("-m", "ipykernel_launcher")
_SOCKETS = "usagekit-kernel-"
_LOCKED_WITHIN_SECONDS = 60.0
_TICK_SECONDS = 0.004
_BIND_SECONDS = 2.0
_KILL_SECONDS = 5.0


class WarmProvisioner(LocalProvisioner):
    """Starts kernels that are ready in a tenth of a second; where that is impossible, ordinary ones.

    Talks to them over sockets in a private directory. ``warm`` false starts every kernel cold; ``memory_bytes``
    limits a kernel's own memory (0 does not, and only Linux does); ``private`` lets nobody else read what it writes.
    ``snapshot`` is read before the kernels are forked, once for all of them.
    """

    warm = Bool(True)
    memory_bytes = Int(0)
    private = Bool(False)
    snapshot = Unicode("")
    _sockets: str | None = None
    _lock = -1
    _refused: ClassVar = False  # what failed once in this process would fail, and wait, for each kernel again

    @property
    def exit_code(self) -> int | None:
        """How the kernel ended, negative for a signal; None when it runs or was ended on request."""
        return self.process.returncode if self.process else None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the sockets before Jupyter writes the connection file: no port to clash, nobody who listens."""
        manager = self.parent
        if manager is not None and manager.transport == "tcp" and os.name == "posix":
            self._sockets, self._lock = _private_directory()
            manager.transport, manager.ip = "ipc", f"{self._sockets}/kernel"
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork the kernel, or start ``cmd`` when it cannot be forked."""
        streams = [kwargs.get(name) for name in ("stdout", "stderr")]
        ours = cmd[0] == sys.executable and tuple(cmd[1:3]) == _LAUNCHER
        if self.warm and ours and not WarmProvisioner._refused and streams.count(None) == len(streams):
            try:
                await self._fork(cmd[3:], kwargs)
            except CannotForkError as error:
                WarmProvisioner._refused = error.lasting
                what = "kernels start cold from now on" if error.lasting else "a kernel starts cold"
                warnings.warn(f"{what}: {error}", RuntimeWarning, stacklevel=2)
            else:
                return self.connection_info
        if self.private:
            kwargs["umask"] = 0o077
        connection = await super().launch_kernel(cmd, **kwargs)
        if self.process and self.memory_bytes and sys.platform == "linux":
            import resource

            limit = (self.memory_bytes, self.memory_bytes)
            with suppress(ProcessLookupError):  # it has ended already
                resource.prlimit(self.process.pid, resource.RLIMIT_DATA, limit)
        return connection

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel and see it gone; Jupyter would look only ten times a second."""
        await super().kill(restart=restart)
        await _until(lambda: self.process is None or self.process.poll() is not None, _KILL_SECONDS)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the sockets, unless the kernel comes back to them."""
        await super().cleanup(restart=restart)
        if self._sockets and not restart:
            shutil.rmtree(self._sockets, ignore_errors=True)
            os.close(self._lock)
            self._sockets = None

    async def _fork(self, arguments: list[str], launch: dict[str, Any]) -> None:
        request = Request(
            arguments,
            dict(launch["env"] if launch.get("env") is not None else os.environ),
            str(Path(launch.get("cwd") or "").absolute()),
            memory_bytes=self.memory_bytes,
            umask=0o077 if self.private else None,
            sockets=self._sockets,
            snapshot=self.snapshot,
        )
        # In a thread: the first one waits for the imports, and a server has other kernels to serve meanwhile.
        kernel = await asyncio.to_thread(fork_kernel, request)
        self.process = kernel  # type: ignore[assignment] # as much of Popen as Jupyter uses
        self.pid = self.pgid = kernel.pid
        self.cwd = request.directory
        # A client that connects before the sockets are there tries again only after a tenth of a second.
        heartbeat = Path(f"{self.connection_info['ip']}-{self.connection_info['hb_port']}")
        await _until(lambda: heartbeat.exists() or kernel.poll() is not None, _BIND_SECONDS)


class LeanClient(AsyncKernelClient):
    """Waits no longer than it takes until a kernel answers and its output is heard."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Return when the kernel has replied and has said something on the channel of its outputs.

        Jupyter's own then waits for a fifth of a second in which nothing more is said; nbclient tells other
        outputs from those of its cells anyway.

        Raises
        ------
        RuntimeError : the kernel has ended, or ``timeout`` seconds have passed.
        """
        deadline = time.monotonic() + (inf if timeout is None else timeout)
        while True:
            self.kernel_info()
            with suppress(Empty):
                reply = await self.shell_channel.get_msg(timeout=1)
                if reply["msg_type"] == "kernel_info_reply":
                    await self.iopub_channel.get_msg(timeout=0.2)
                    self._handle_kernel_info_reply(reply)
                    return
            if not await self.is_alive():
                raise RuntimeError("the kernel ended before it answered")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the kernel did not answer for {timeout} s")


def _private_directory() -> tuple[str, int]:
    """A directory for a kernel's sockets, and the lock that says it is in use; what killed processes left goes."""
    import fcntl

    for left in Path(tempfile.gettempdir()).glob(f"{_SOCKETS}*"):
        with suppress(OSError):  # in use, somebody else's, or gone
            if time.time() - left.stat().st_mtime < _LOCKED_WITHIN_SECONDS:
                continue
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
    path = tempfile.mkdtemp(prefix=_SOCKETS)  # in /tmp: socket paths must be short
    lock = os.open(path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return path, lock


async def _until(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(_TICK_SECONDS)
