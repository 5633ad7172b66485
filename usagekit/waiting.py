"""Progress of a slow question: a bar in a terminal, a line in a notebook, silence when it is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Timer
from time import monotonic
from typing import Any, Final, Protocol, cast

PATIENCE_SECONDS: Final = 2.0
"""How long (s) a question may take without a word."""


class Display(Protocol):
    """Where progress is shown; ``soon`` says that it may be shown while a request is still out."""

    soon: bool

    def show(self, done: int, of: int) -> None: ...
    def close(self) -> None: ...


class Progress:
    """Counts requests; shows them once the patience is over."""

    def __init__(self, total: int, display: Display) -> None:
        self.done, self.total = 0, total
        self._display: Display | None = display
        self._lock = Lock()
        self._since = monotonic()
        self._shown = False
        self._timer = Timer(PATIENCE_SECONDS, self._show) if display.soon else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    def step(self) -> None:
        """One more request is answered."""
        self.done += 1
        # After the last one there is nothing left to wait for.
        if self._shown or (monotonic() - self._since > PATIENCE_SECONDS and self.done < self.total):
            self._show()

    def close(self) -> None:
        """Take away what was shown."""
        if self._timer:
            self._timer.cancel()
        with self._lock:
            if self._display and self._shown:
                self._display.close()
            self._display = None

    def _show(self) -> None:
        with self._lock:
            if self._display:
                self._shown = True
                self._display.show(self.done, self.total)


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def waiting(total: int) -> Iterator[Callable[[], None]]:
    """Wait for ``total`` requests; call what this yields after each. Inside another wait it lengthens that one."""
    outer = _current.get()
    if outer:
        outer.total += total
        yield outer.step
        return
    if not (display := _find_display()):
        yield lambda: None
        return
    progress = Progress(total, display)
    token = _current.set(progress)
    try:
        yield progress.step
    finally:
        _current.reset(token)
        progress.close()


def _find_display() -> Display | None:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None):
        return _Notebook()
    return _Terminal() if sys.stderr.isatty() else None


class _Terminal:
    soon = True

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, done: int, of: int) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        if self._bar is None:
            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task("Asking")
        self._bar.update(self._bar.task_ids[0], completed=done, total=of)

    def close(self) -> None:
        self._bar.stop()


class _Notebook:
    soon = False  # what a thread displays may land below another cell

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, done: int, of: int) -> None:
        from IPython import display

        line = cast(Any, display.HTML)(
            f'<progress value="{done}" max="{of}"></progress> {done} of {of} requests answered'
        )
        if self._handle is None:
            self._handle = cast(Any, display.DisplayHandle)()
            self._handle.display(line)
        else:
            self._handle.update(line)

    def close(self) -> None:
        from IPython import display

        self._handle.update(cast(Any, display.HTML)(""))
