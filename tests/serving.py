"""``usagekit serve`` in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(
    store: Path, *, environment: Mapping[str, str], token: str | None = None, said: Path | None = None
) -> Iterator[str]:
    """The URL of a server over ``store``, on a free port, once it answers.

    Without ``token`` it takes that of its environment; what it prints goes to the file ``said``.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "usagekit.cli", "serve", "--store", str(store), "--port", str(port)]
    secret = [] if token is None else ["--token", token]
    url = f"http://127.0.0.1:{port}"
    with (said or Path("/dev/null")).open("wb") as output:
        process = subprocess.Popen(
            [*command, *secret], cwd=store.parent, env=environment, stdout=output, stderr=output
        )
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{url}/openapi.json", timeout=1).read()
                    break
                except OSError:
                    assert process.poll() is None, "usagekit serve ended"
                    assert time.monotonic() < until, "usagekit serve does not answer"
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(20)
