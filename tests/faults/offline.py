"""Running Python where there is no network but loopback: a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_SIOCSIFFLAGS, _UP = 0x8914, 0x49
_IN = f"""
import fcntl, os, socket, struct, sys
with socket.socket() as any:
    fcntl.ioctl(any, {_SIOCSIFFLAGS}, struct.pack("16sH14x", b"lo", {_UP}))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
_UNSHARE = ("unshare", "-n") if os.getuid() == 0 else ("unshare", "-rn")


@cache
def can_be_offline() -> bool:
    """Whether this machine lets us make namespaces."""
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def offline(*arguments: str) -> list[str]:
    """The command that runs Python with these arguments where only loopback is up; plainly, where that is impossible."""
    return (
        [*_UNSHARE, sys.executable, "-c", _IN, *arguments]
        if can_be_offline()
        else [sys.executable, *arguments]
    )


def packets(interfaces: str) -> int:
    """Packets sent on all interfaces, of /proc/net/dev."""
    return sum(int(line.partition(":")[2].split()[9]) for line in interfaces.splitlines()[2:])
