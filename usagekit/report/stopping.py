"""A polite end: SIGTERM asks a batch to stop, and the batch decides when."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from usagekit.errors import RenderError

GRACE_SECONDS: Final = 5.0
"""How long reports at work may go on after the first SIGTERM; a second one ends them at once."""


class Stopped(RenderError):  # noqa: N818 - a state of the batch, told as an error
    """A batch was asked to end (SIGTERM) before all reports were made; the same command goes on from there."""


class Stop:
    """Whether the end was asked for, and how long the work at hand may still take."""

    def __init__(self) -> None:
        self._deadline: float | None = None
        self._wake, self._bell = os.pipe()
        os.set_blocking(self._bell, False)

    @property
    def asked(self) -> bool:
        """Whether nothing new may begin."""
        return self._deadline is not None

    @property
    def seconds_left(self) -> float:
        """Time for the work at hand (s): endless until the end is asked for."""
        return float("inf") if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def ask(self) -> None:
        """Ask for the end; asked again, allow no more time."""
        self._deadline = time.monotonic() + (0 if self.asked else GRACE_SECONDS)
        try:
            os.write(self._bell, b"!")
        except BlockingIOError:  # it rings already
            return

    def fileno(self) -> int:
        """Readable once the end is asked for, so that whoever waits for workers wakes up."""
        return self._wake

    def heard(self) -> None:
        """Stop ringing until asked again."""
        os.read(self._wake, 1)

    def close(self) -> None:
        os.close(self._wake)
        os.close(self._bell)


@contextmanager
def stop_on_terminate() -> Iterator[Stop]:
    """Take SIGTERM as a request to stop, while the block runs; only in the main thread, where signals arrive."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        try:
            yield stop
        finally:
            stop.close()
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        stop.ask()

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        stop.close()
