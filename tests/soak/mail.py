"""The long form of the mails' tests: ``python -m tests.soak.mail [--mixes N]``.

Random mixes of refusals, each a month's mails over a real server: every refusal reported, nobody sent to twice.
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.post.mixes import refusal_mixes
from tests.soak.lines import report

_AT_ONCE = 500
"""Mixes of one month; more would only make its table longer."""


def soak_refusals(count: int, rng: random.Random) -> dict[str, Any]:
    """Send ``count`` mixes in months of 500."""
    totals: dict[str, int] = {}
    for start in range(0, count, _AT_ONCE):
        with TemporaryDirectory() as reports:
            found = refusal_mixes(Path(reports), min(_AT_ONCE, count - start), rng)
        totals = {name: totals.get(name, 0) + number for name, number in found.items()}
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="add the line to docs/soak-mail.jsonl")
    asked = parser.parse_args()
    file = "soak-mail.jsonl" if asked.write else None
    report("refusals", partial(soak_refusals, asked.mixes, random.Random(asked.seed)), file)


if __name__ == "__main__":
    main()
