"""What soak runs have found, as JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def report(what: str, run: Callable[[], Mapping[str, object]], file: str | None) -> None:
    """Do a run, which fails where the product does, and print its counts and seconds; add them to docs/``file``."""
    begun = time.monotonic()
    counts = run()
    line = {"what": what, **counts, "failures": 0, "seconds": round(time.monotonic() - begun, 1)}
    text = json.dumps(line | {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}, ensure_ascii=False)
    print(text, flush=True)
    if file:
        with (DOCS / file).open("a", encoding="utf-8") as lines:
            lines.write(text + "\n")
