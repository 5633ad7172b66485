"""One measurement in a process of its own: ``python -m benchmarks.probe WHAT STORE [ANSWER]`` prints JSON.

The process pins itself to one core before anything with threads is loaded. ``seconds`` is the CPU time of the
process, which on one core with warm files is the wall time of a quiet machine; ``wall_seconds`` is the clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure one contender or one of :data:`PARTS` and print the result."""
    what, store = sys.argv[1], Path(sys.argv[2])
    os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    keep = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    measured = PARTS[what](store) if what in PARTS else contender(what, store, keep)
    print(json.dumps({**measured, "peak_mb": _peak_mb()} if measured else {}))


def contender(name: str, store: Path, keep: Path | None) -> dict[str, Any]:
    """Time the six metrics by team and day over the whole calendar; ``keep`` is where the rows go as JSON."""
    from benchmarks.rivals import RIVALS, rows_of, scan
    from benchmarks.sessions import FIRST, LAST

    run = scan if name == "plain scan" else RIVALS[name]
    run(store, FIRST, FIRST)  # imports and first use
    answer, times = _timed(lambda: run(store, FIRST, LAST))
    if keep:
        keep.write_text(json.dumps(rows_of(answer)))
    return times


def one_month(store: Path) -> dict[str, Any]:
    """Time ``total_time`` by team and day of one month; ``read_mb`` is what the kernel was asked for."""
    from benchmarks.question import ZONE
    from usagekit.engine import local
    from usagekit.engine.store import open_store
    from usagekit.query import UsageQuery

    opened = open_store(store)
    query = UsageQuery(
        by="team", start=date(2023, 3, 1), end=date(2023, 3, 31), bin_size="day", timezone=ZONE
    )
    local.usage(opened, query)
    before = _bytes_read()
    _, times = _timed(lambda: local.usage(opened, query))
    read = (_bytes_read() - before) / 1e6
    index = sum((store / month.file).stat().st_size for month in opened.manifest.months)
    return {**times, "read_mb": read, "index_mb": index / 1e6}


def hour_edges(_store: Path) -> dict[str, Any]:
    """Time the edges and labels of the hour bins of the whole calendar."""
    from benchmarks.question import ZONE
    from benchmarks.sessions import FIRST, LAST
    from usagekit.engine.bins import query_bins
    from usagekit.query import UsageQuery

    query = UsageQuery(start=FIRST, end=LAST, bin_size="hour", timezone=ZONE)
    query_bins(query)
    bins, times = _timed(lambda: query_bins(query))
    return {**times, "bins": len(bins)}


def rows_out(store: Path) -> dict[str, Any]:
    """Time the rows of ``total_time`` by team and hour as JSON bytes, and as the analyst's pandas frame."""
    import pyarrow as pa

    from benchmarks.question import ZONE
    from benchmarks.sessions import FIRST, LAST
    from usagekit.api.answers import usage_pieces
    from usagekit.api.frames import usage_frame
    from usagekit.engine import local
    from usagekit.engine.store import open_store
    from usagekit.query import UsageQuery

    query = UsageQuery(by="team", start=FIRST, end=LAST, bin_size="hour", timezone=ZONE)
    rows = local.usage(open_store(store), query)
    usage_frame(rows.head(10).to_arrow(), query)
    size, to_json = _timed(lambda: sum(map(len, usage_pieces(rows, "json"))))
    frame, to_pandas = _timed(lambda: usage_frame(pa.table(rows), query))
    if len(frame) != rows.height:
        raise AssertionError(f"{len(frame)} rows of {rows.height} arrived in pandas")
    return {
        "rows": rows.height,
        "json_mb": size / 1e6,
        "json_seconds": to_json["seconds"],
        "pandas_seconds": to_pandas["seconds"],
    }


def index(store: Path) -> dict[str, Any]:
    """Time the indexing of a store that others wrote, unless it has an index."""
    from usagekit.engine.store import open_store

    if (store / "index" / "manifest.json").exists():
        return {}
    _, times = _timed(lambda: open_store(store))
    return times


def sample(store: Path) -> dict[str, Any]:
    """Time the writing of the sessions, unless they are there; the folder's name is their number."""
    from benchmarks.sessions import is_whole, write_sessions

    if is_whole(store):
        return {}
    _, times = _timed(lambda: write_sessions(store, int(store.name)))
    return times


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sample": sample,
    "index": index,
    "one month": one_month,
    "hour edges": hour_edges,
    "rows out": rows_out,
}


def _timed(run: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, {
        "seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }


def _peak_mb() -> float:
    # Not ru_maxrss: it starts at what the parent process had.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: this benchmark needs Linux")


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


if __name__ == "__main__":
    main()
