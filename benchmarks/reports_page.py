"""The reports' results as the section of docs/performance.md."""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks import page
from benchmarks.check import Ratio

Turns = dict[str, list[dict[str, float]]]
"""Seconds a report, ``cpu`` and ``wall``, of each way in each round."""

_BEGIN, _END = "<!-- reports -->\n", "<!-- /reports -->\n"
_NAMES = {
    "today": "papermill, nbconvert, WeasyPrint",
    "ours": "`usagekit render`",
    "floor": "cells and export in one process",
}


def save(kept: dict[str, Any]) -> None:
    """Write the results and the section."""
    page.FILE.write_text(json.dumps(kept, indent=1) + "\n")
    path = page.DOCS / "performance.md"
    head, _, rest = path.read_text("utf-8").partition(_BEGIN)
    path.write_text(f"{head}{_BEGIN}{section(kept['reports'])}{_END}{rest.partition(_END)[2]}", "utf-8")


def section(found: dict[str, Any]) -> str:
    """Everything that was measured of the reports, as Markdown."""
    verdicts = "".join(f"- {ratio}\n" for ratio in ratios(found))
    parts = [_runs(found), _speed(found), verdicts, _profile(found.get("profile", {})), _memory(found)]
    return "\n".join(part for part in parts if part)


def ratios(found: dict[str, Any]) -> list[Ratio]:
    """What must hold of the reports, as far as it was measured."""
    checks = []
    for jobs, turns in found.get("jobs", {}).items():
        for other, larger, goal, bound in (("today", True, 8, 6), ("floor", False, 1.3, 2.5)):
            middle, low, high = spread(turns, other)
            what = f"{'times faster than today' if larger else 'times the floor'}, {jobs} at a time"
            what += f" ({low:.2g} to {high:.2g})"
            checks.append(Ratio(what, middle, goal, bound, larger_is_better=larger))
    if peaks := found.get("memory"):
        alone = max(peak["worker"] for peak in peaks)
        checks.append(Ratio("MB of a worker", alone, 400, 450, larger_is_better=False))
        together = statistics.median(peak["together"] for peak in peaks)
        what = "MB of a worker with its kernel and what forks it"
        checks.append(Ratio(what, together, 400, 700, larger_is_better=False))
        grown = peaks[-1]["worker"] / peaks[len(peaks) // 2]["worker"]
        what = "times the worker's memory in the second half of the reports"
        checks.append(Ratio(what, grown, 1.02, 1.1, larger_is_better=False))
    if second := found.get("second"):
        what = f"seconds of a second render of {second['teams']} teams (least {second['least']:.2g})"
        checks.append(Ratio(what, second["seconds"], 2, 4, larger_is_better=False))
    return checks


def spread(turns: Turns, other: str, kind: str = "cpu") -> tuple[float, float, float]:
    """How many times usagekit's time today's way takes, or usagekit the floor's: median, least and most of the rounds."""
    pairs = [(ours[kind], theirs[kind]) for ours, theirs in zip(turns["ours"], turns[other], strict=True)]
    times = [theirs / ours if other == "today" else ours / theirs for ours, theirs in pairs]
    return statistics.median(times), min(times), max(times)


def _runs(found: dict[str, Any]) -> str:
    lines = []
    for key, words in (("run", ""), ("large_run", " --large")):
        if run := found.get(key):
            cores = f"{run['cores']} cores, load {run['load']:.1f} when it began, {run['rounds']}"
            lines.append(f"`python -m benchmarks.reports{words}` on {run['date']}: {run['cpu']}, {cores}.\n")
    return "\n".join(lines)


def _speed(found: dict[str, Any]) -> str:
    if "jobs" not in found:
        return ""
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(found["figures"].items()))
    lines = [
        "| at a time | way | CPU s a report | times ours | s on the clock | times ours |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    for jobs, turns in found["jobs"].items():
        for way, name in _NAMES.items():
            cells = [jobs, name]
            for kind in ("cpu", "wall"):
                pairs = zip(turns[way], turns["ours"], strict=True)
                times = statistics.median(theirs[kind] / ours[kind] for theirs, ours in pairs)
                cells += [f"{statistics.median(turn[kind] for turn in turns[way]):.2f}", f"{times:.2f}"]
            lines.append(f"| {' | '.join(cells)} |")
    if browser := found.get("browser"):
        cells = ["1", "papermill, nbconvert, webpdf"]
        for kind in ("cpu", "wall"):
            ours = statistics.median(turn[kind] for turn in found["jobs"]["1"]["ours"])
            cells += [f"{browser[kind]:.2f}", f"{browser[kind] / ours:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return (
        "\n".join(lines)
        + f"\n\n{found['teams']} teams. Equal in all three ways, for {found['compared']} of them: {shown}.\n"
    )


def _profile(profile: dict[str, dict[str, float]]) -> str:
    if not profile:
        return ""
    lines = ["| step of a report | median, ms | least, ms |", "|---|--:|--:|"]
    for step, spent in sorted(profile.items(), key=lambda item: -item[1]["median"]):
        if spent["median"] >= 1:
            lines.append(f"| {step} | {spent['median']:.0f} | {spent['least']:.0f} |")
    return "\n".join(lines) + "\n"


def _memory(found: dict[str, Any]) -> str:
    if "memory" not in found:
        return ""
    lines = [
        "| reports | worker, MB | forks kernels, MB | kernel, MB | together, MB |",
        "|--:|--:|--:|--:|--:|",
    ]
    for peak in found["memory"]:
        cells = (f"{peak.get(role, 0):.0f}" for role in ("reports", "worker", "forker", "kernel", "together"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
