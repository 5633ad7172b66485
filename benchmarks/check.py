"""Do the ratios hold? ``python -m benchmarks.check`` reads the last run and exits with 1 where one does not.

Ratios and not seconds: they are of one machine and one moment, so a slower machine passes as well. ``goal`` is
what we want and is printed, met or missed; ``bound`` is what must hold, so that a step back is noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from benchmarks import page


@dataclass(frozen=True, slots=True)
class Ratio:
    """A measured ratio with its goal and its bound; the larger the better, or the smaller."""

    what: str
    value: float
    goal: float
    bound: float
    larger_is_better: bool = True

    def reaches(self, limit: float) -> bool:
        """Whether the value is at least as good as a limit."""
        return self.value >= limit if self.larger_is_better else self.value <= limit

    def __str__(self) -> str:
        sign = "≥" if self.larger_is_better else "≤"
        verdict = "met" if self.reaches(self.goal) else "MISSED"
        value = f"{self.value:.2g}" if self.value < 100 else f"{self.value:.0f}"
        return f"{self.what}: {value} (goal {sign} {self.goal:g}, {verdict})"


def ratios(results: page.Results) -> Iterator[Ratio]:
    """The ratios of a run, as far as its sizes allow."""
    if ten := results.get("10000000"):
        ours, pandas = ten["usagekit"], ten["plain pandas"]
        yield Ratio("times faster than plain pandas", pandas["seconds"] / ours["seconds"], 8, 6)
        polars = ten["Polars on strings"]["seconds"] / ours["seconds"]
        yield Ratio("times faster than Polars on strings", polars, 2, 1.5)
        scan = ours["seconds"] / ten["plain scan"]["seconds"]
        yield Ratio("times the plain scan of three columns", scan, 5, 16, larger_is_better=False)
        memory = ours["peak_mb"] / pandas["peak_mb"]
        yield Ratio("of plain pandas' memory", memory, 0.1, 0.2, larger_is_better=False)
        month = ten["one month"]["read_mb"] / ten["one month"]["index_mb"]
        yield Ratio("of the index read for one month of 36", month, 3 / 36, 4 / 36, larger_is_better=False)
    if most := results.get("100000000"):
        gigabytes = most["usagekit"]["peak_mb"] * 2**20 / 1e9
        yield Ratio("GB of memory at 10^8 sessions", gigabytes, 1, 1.5, larger_is_better=False)
    sizes = sorted((int(size) for size in results), reverse=True)
    for large, small in pairwise(sizes):
        grown = results[str(large)]["usagekit"]["seconds"] / results[str(small)]["usagekit"]["seconds"]
        per_tenfold = grown / (large / small / 10)
        yield Ratio(f"growth up to {large:,} per tenfold", per_tenfold, 10, 15, larger_is_better=False)


def main() -> None:
    """Print every ratio of the engine; exit with 1 when one is out of bounds."""
    found = list(ratios(page.load()["results"]))
    print("\n".join(map(str, found)))
    require(found)


def require(found: Iterable[Ratio]) -> None:
    """Exit with 1 when a ratio is out of bounds."""
    broken = [ratio for ratio in found if not ratio.reaches(ratio.bound)]
    if broken:
        sys.exit("out of bounds: " + "; ".join(f"{r.what} (bound {r.bound:g})" for r in broken))


if __name__ == "__main__":
    main()
