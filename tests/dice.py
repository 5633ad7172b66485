"""Chance in tests: the same in every run of CI, new elsewhere."""

from __future__ import annotations

import os
import random


def first_seed() -> int:
    """Where a sequence of seeds begins."""
    return 0 if os.environ.get("CI") else random.randrange(10**9)
