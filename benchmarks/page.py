"""The results as text, as docs/performance.md and as its plot."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "performance.json"

Results = dict[str, dict[str, dict[str, float]]]
"""Medians by number of sessions (as text) and by what was measured."""

SHOWN = (
    "plain pandas",
    "vectorised pandas",
    "Polars on strings",
    "usagekit, one by one",
    "usagekit",
    "plain scan",
)
_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->\n"


def load() -> dict[str, Any]:
    """The last results, or none."""
    kept: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"results": {}}
    return kept


def machine(rounds: int) -> dict[str, Any]:
    """Where and when a run took place."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown"
    )
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": model.split(":", 1)[1].strip(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rounds": f"{rounds} rounds" if rounds else "each once",
        "versions": f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("polars", "pandas", "pyarrow", "numpy")),
    }


def table(results: Results) -> str:
    """Time, ratio to usagekit and memory of every contender at every size, as a Markdown table."""
    lines = ["| sessions | contender | seconds | times usagekit | peak MB |", "|--:|---|--:|--:|--:|"]
    for size in sorted(results, key=int):
        found = results[size]
        for name in SHOWN:
            if (measured := found.get(name)) is None:
                lines.append(f"| {int(size):,} | {name} | not tried | | |")
                continue
            ratio = measured["seconds"] / found["usagekit"]["seconds"]
            lines.append(
                f"| {int(size):,} | {name} | {measured['seconds']:.3g} | {ratio:.2f} | {measured['peak_mb']:,.0f} |"
            )
    return "\n".join(lines) + "\n"


def parts(results: Results) -> str:
    """The other measurements at every size, as a Markdown table."""
    lines = [
        "| sessions | one month, s | read, MB | index, MB | built, s | peak MB | JSON, MB/s | pandas, 10^6 rows/s |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size in sorted(results, key=int):
        month, built, out = (results[size][part] for part in ("one month", "index", "rows out"))
        cells = [
            f"{int(size):,}",
            f"{month['seconds']:.3f}",
            f"{month['read_mb']:.2f}",
            f"{month['index_mb']:.1f}",
            f"{built['seconds']:.3g} | {built['peak_mb']:,.0f}" if built else "was there | ",
            f"{out['json_mb'] / out['json_seconds']:.0f}",
            f"{out['rows'] / 1e6 / out['pandas_seconds']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def save(kept: dict[str, Any]) -> None:
    """Write the results, the measured part of docs/performance.md, and the plot."""
    from benchmarks import check

    FILE.write_text(json.dumps(kept, indent=1) + "\n")
    results: Results = kept["results"]
    runs = [
        f"`{command}` on {run['date']}: {run['cpu']}, {run['cores']} cores of which one was used, load "
        f"{run['load']:.1f} when it began, {run['rounds']}; "
        f"{run['versions']}.\n"
        for command, run in (("make bench", kept.get("run")), ("make bench-large", kept.get("large_run")))
        if run
    ]
    ratios = "".join(f"- {ratio}\n" for ratio in check.ratios(results))
    edges = results[max(results, key=int)]["hour edges"]
    edge_line = f"Hour edges and labels of three years ({edges['bins']:,.0f} bins): {edges['seconds'] * 1000:.0f} ms.\n"
    measured = "\n".join([*runs, table(results), ratios, parts(results), edge_line])
    page = DOCS / "performance.md"
    head, _, rest = page.read_text("utf-8").partition(_BEGIN)
    page.write_text(f"{head}{_BEGIN}{measured}{_END}{rest.partition(_END)[2]}", "utf-8")
    _plot(results, DOCS / "performance.svg")


def _plot(results: Results, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "usagekit", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    kinds = (("seconds", "CPU seconds, one core"), ("peak_mb", "Peak memory, MB"))
    for axes, (key, label) in zip(panels, kinds, strict=True):
        for name, marker in zip(SHOWN, "osD^vx", strict=True):
            sizes = [size for size in sorted(results, key=int) if name in results[size]]
            values = [results[size][name][key] for size in sizes]
            axes.loglog([int(s) for s in sizes], values, marker=marker, ms=4, label=name)
        axes.set(xlabel="Sessions", ylabel=label)
        axes.grid(visible=True, which="major", alpha=0.3)
    panels[0].legend(fontsize=8, frameon=False)
    figure.suptitle("Six metrics by team and day over 36 months", fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
