"""Named steps at which a test may kill a run as a power cut would: whatever has reached the disk stays, nothing else.

``USAGEKIT_CRASH_AT=publish:renamed-report.pdf`` kills this process and its whole group when it gets there, with
``@2`` at the end when it gets there for the second time; ``USAGEKIT_STEPS_TO=FILE`` lists the steps passed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

_name, _, _turn = os.environ.get("USAGEKIT_CRASH_AT", "").partition("@")
_list = os.environ.get("USAGEKIT_STEPS_TO")
_on = bool(_name or _list)
_passed = 0


def step(name: str) -> None:
    """Pass a step after which the disk holds something new; does nothing unless a test has armed it."""
    if _on:
        _pass(name)


def armed() -> bool:
    """Whether a test has armed a step in this process."""
    return _on


def _pass(name: str) -> None:
    global _passed  # noqa: PLW0603 - a count for the life of the process
    if _list:
        with Path(_list).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    if name == _name:
        _passed += 1
        if _passed == int(_turn or 1):
            os.killpg(0, signal.SIGKILL)
