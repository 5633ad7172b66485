"""How fast rows become JSON and CSV, and what a large answer costs in memory.

python -m tests.soak.writer [--rows 2000000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from time import perf_counter, process_time

import polars as pl

from usagekit.api.answers import events_pieces, usage_pieces


def usage_rows(rows: int) -> pl.DataFrame:
    """Rows as of /v1/usage/team/device: 40 teams, 500 devices."""
    number = pl.int_range(rows, eager=True)
    names = {
        "datetime": pl.Series([f"2023-03-{day:02}" for day in range(1, 32)]).gather(number // 645 % 31),
        "team": pl.Series([f"Team {n} “é”" for n in range(40)]).gather(number % 40),
        "device_address": pl.Series([f"dev{n:05}@lab-{n % 5}.example.com" for n in range(500)]).gather(
            number % 500
        ),
    }
    return pl.DataFrame({**names, "total_time": number / 7}).with_columns(unit=pl.lit("hour"))


def event_rows(rows: int) -> pl.DataFrame:
    """Rows as of /v0/usage/events, one in five automated."""
    number = pl.int_range(rows, eager=True)
    automated = number % 5 == 0
    name = pl.Series([f"Person {n} “é”" for n in range(300)]).gather(number % 300)
    return pl.DataFrame(
        {
            "user": name,
            "email": name,
            "team": name,
            "automated": automated,
            "device_id": name,
            "hostname": name,
        }
    ).with_columns(
        start_time=pl.lit("2023-03-01 09:00:00"),
        end_time=pl.lit("2023-03-01 09:30:00"),
        duration=number % 5000,
        date=pl.lit("20230301"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    writers: list[
        tuple[str, Callable[[int], pl.DataFrame], Callable[[pl.DataFrame, str], Iterator[bytes]]]
    ] = [
        ("usage", usage_rows, usage_pieces),
        ("events", event_rows, events_pieces),
    ]
    for name, make, write in writers:
        frame = make(rows)
        for dress in ("json", "csv"):
            start, worked = perf_counter(), process_time()
            size = sum(map(len, write(frame, dress)))
            seconds, worked = perf_counter() - start, process_time() - worked
            print(
                f"{name} {dress}: {size / 1e6:,.0f} MB, {size / 1e6 / seconds:,.0f} MB/s, "
                f"{size / 1e6 / worked:,.0f} MB per CPU second"
            )


if __name__ == "__main__":
    main()
