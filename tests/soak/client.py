"""The long forms of the client's tests: ``python -m tests.soak.client [--headers N] [--splits N]``.

Fuzzed Retry-After headers must never make the client stumble, and random ranges of events, asked of servers
that take their last date as included or not, must come back with nothing lost and nothing doubled.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

from tests.soak.lines import report
from usagekit.api.client import Client
from usagekit.api.retry import retry_after_seconds
from usagekit.query import EventsQuery, UsageQuery
from usagekit.values import FIRST_DATE, LAST_DATE, parse_date

_CHARACTERS = "0123456789.,:+-eE GMTUTCJanMonSun\t\0é९∞nif"
_DAY = timedelta(days=1)


def soak_headers(count: int, rng: random.Random) -> dict[str, Any]:
    """Read fuzzed headers; a legal value must never come out early."""
    told = 0
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            text = "".join(rng.choices(_CHARACTERS, k=rng.randrange(40)))
            seconds = retry_after_seconds(text, server_date=text if rng.random() < 0.5 else None)
            assert seconds is None or 0 <= seconds <= 1e9, text
        elif kind == 1:
            text = str(rng.randrange(10 ** rng.randrange(1, 30)))
            seconds = retry_after_seconds(text)
            assert seconds == min(float(text), 1e9), text
        else:
            now = datetime.fromtimestamp(rng.randrange(2**32), UTC)
            wait = rng.randrange(-100_000, 1_000_000)
            text = format_datetime(now + timedelta(seconds=wait), usegmt=True)
            if kind == 3:  # a date with some characters changed
                letters = list(text)
                letters[rng.randrange(len(letters))] = rng.choice(_CHARACTERS)
                seconds = retry_after_seconds("".join(letters), server_date=format_datetime(now, usegmt=True))
                assert seconds is None or 0 <= seconds <= 1e9, letters
            else:
                seconds = retry_after_seconds(text, server_date=format_datetime(now, usegmt=True))
                assert seconds is not None, text
                assert max(wait, 0) <= seconds <= max(wait + 1, 0), text
        told += seconds is not None
    return {"headers": count, "told": told, "crashes": 0, "early": 0}


class _Reading(Client):
    """A client whose API is a list of days in memory that takes its last date as included, or not."""

    def __init__(self, *, included: bool) -> None:
        super().__init__(token="soak")
        self._included = included
        self.days: Counter[date] = Counter()

    def as_asked(self, query: UsageQuery | EventsQuery) -> list[dict[str, Any]]:
        body = EventsQuery.to_params(query)  # type: ignore[arg-type]
        first, last = (parse_date(body[name], parameter=name) for name in ("start_date", "end_date"))
        assert (last - first).days <= 119
        stop = last if self._included else last - _DAY
        return [
            {"date": f"{day:%Y%m%d}", "device_id": "00123"}
            for offset in range((stop - first).days + 1)
            for day in [first + offset * _DAY]
            for _ in range(self.days[day])
        ]


def soak_splits(count: int, rng: random.Random) -> dict[str, Any]:
    """Ask for random ranges of random histories, with equal sessions in them, under both readings."""
    lost = doubled = rows = 0
    readings = [_Reading(included=included) for included in (False, True)]
    for number in range(count):
        start = date(1970, 1, 2) + timedelta(days=rng.randrange((LAST_DATE - FIRST_DATE).days - 1000))
        end = start + timedelta(
            days=rng.choice((rng.randrange(5), rng.randrange(110, 130), rng.randrange(800)))
        )
        days: Counter[date] = Counter()
        for _ in range(rng.randrange(60)):
            days[start + timedelta(days=rng.randrange(-3, (end - start).days + 4))] += rng.choice(
                (1, 1, 2, 5)
            )
        client = readings[number % 2]
        client.days = days
        found = Counter(
            parse_date(row["date"], parameter="date")
            for row in client.events(EventsQuery(start=start, end=end))
        )
        wanted = Counter({day: n for day, n in days.items() if start <= day <= end})
        lost += (wanted - found).total()
        doubled += (found - wanted).total()
        rows += found.total()
    assert lost == doubled == 0
    return {"splits": count, "rows": rows, "lost": lost, "doubled": doubled}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", type=int, default=100_000)
    parser.add_argument("--splits", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="add the lines to docs/soak-client.jsonl")
    asked = parser.parse_args()
    file = "soak-client.jsonl" if asked.write else None
    for soak, count in ((soak_headers, asked.headers), (soak_splits, asked.splits)):
        what = soak.__name__.removeprefix("soak_")
        report(what, partial(soak, count, random.Random(asked.seed)), file)


if __name__ == "__main__":
    main()
