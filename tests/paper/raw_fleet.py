"""What a fleet can bear, from the raw sessions: peaks, sold-out time, hand-offs, idle devices and twins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from itertools import combinations
from statistics import median
from typing import Any

from tests.paper.raw_numbers import HOUR, Piece, Raw, Span, cut, of_team, overlap, steps, union

Steps = list[tuple[int, int, int]]


def busy_spans(pieces: Iterable[Piece]) -> dict[str, list[Span]]:
    """When each device is held by at least one session."""
    found: dict[str, list[Span]] = defaultdict(list)
    for piece in pieces:
        if piece.end > piece.start:
            found[piece.session.device].append((piece.start, piece.end))
    return {device: union(spans) for device, spans in found.items()}


class Fleet:
    """The fleet of a month."""

    def __init__(self, raw: Raw) -> None:
        self.raw, self.opens = raw, raw.business(raw.month)
        self.pieces = [p for p in raw.pieces[raw.month] if p.end > p.start]
        self.held = busy_spans(self.pieces)
        self.steps = steps(self.held.values())
        self.pools: dict[str, list[str]] = defaultdict(list)
        for device, model in raw.models.items():
            self.pools[model].append(device)

    # All devices

    def peak(self) -> tuple[int, datetime]:
        most = max(n for _, _, n in self.steps)
        at = next(start for start, _, n in self.steps if n == most)
        return most, datetime.fromtimestamp(at, self.raw.zone)

    def longer(self, found: Steps) -> list[int]:
        """By k: business seconds in which at least k were busy."""
        time: Counter[int] = Counter()
        for start, end, number in found:
            time[number] += overlap(self.opens, start, end)
        top = max((n for _, _, n in found), default=0)
        return [
            self.raw.open_seconds,
            *(sum(s for n, s in time.items() if n >= k) for k in range(1, top + 1)),
        ]

    def enough(self, found: Steps, percent: int) -> int:
        """The fewest devices that all business time but 100 - percent of it could do with."""
        longer = [*self.longer(found), 0]
        return next(
            k for k in range(len(longer)) if 100 * longer[k + 1] <= (100 - percent) * self.raw.open_seconds
        )

    def sites(self, column: str) -> list[tuple[str, int, int, float, float]]:
        """Name, owned, used, hours and business utilisation of each country or host, most hours first."""
        place = {"hostname": 0, "country": 1}[column]
        owned = Counter(where[place] for where in self.raw.places.values())
        used: dict[str, set[str]] = defaultdict(set)
        hours: Counter[str] = Counter()
        open_: Counter[str] = Counter()
        for piece in self.pieces:
            name = (piece.session.host, piece.session.country)[place]
            used[name].add(piece.session.device)
            hours[name] += piece.end - piece.start
            open_[name] += overlap(self.opens, piece.start, piece.end)
        names = sorted(owned, key=lambda name: (-hours[name], name))
        return [
            (n, owned[n], len(used[n]), hours[n] / HOUR, open_[n] / (owned[n] * self.raw.open_seconds))
            for n in names
        ]

    # Models

    def pool_steps(self, model: str, held: dict[str, list[Span]] | None = None) -> Steps:
        held = self.held if held is None else held
        return steps(held[device] for device in self.pools[model] if device in held)

    def sold_out(self, model: str, held: dict[str, list[Span]] | None = None) -> list[Span]:
        owned = len(self.pools[model])
        return [(start, end) for start, end, n in self.pool_steps(model, held) if n == owned]

    def sold_out_seconds(self, model: str) -> int:
        return sum(overlap(self.opens, *span) for span in self.sold_out(model))

    @cached_property
    def sizes(self) -> list[dict[str, Any]]:
        """Owned and needed devices of each model, and candidates to retire and to add, most hours first."""
        handed = Counter(self.raw.models[device] for device in self.handoffs())
        dormant = Counter(self.raw.models[device] for device, months, _ in self.idle if months >= 3)
        rows = []
        for model, devices in self.pools.items():
            found, own = self.pool_steps(model), [p for p in self.pieces if p.session.model == model]
            needed = {percent: self.enough(found, percent) for percent in (95, 99)}
            scarce = self.sold_out_seconds(model) if len(devices) > 1 else None
            rows.append(
                {
                    "device_model": model,
                    "owned": len(devices),
                    "used": len({p.session.device for p in own}),
                    "total_time_hours": sum(p.end - p.start for p in own) / HOUR,
                    "peak": max((n for _, _, n in found), default=0),
                    "needed_95": needed[95],
                    "needed_99": needed[99],
                    "sold_out_minutes": None if scarce is None else scarce / 60,
                    "sold_out_share": None if scarce is None else scarce / self.raw.open_seconds,
                    "handoffs": handed[model],
                    "spare": len(devices) - needed[99],
                    "retire": dormant[model],
                    "add": int(bool(scarce) and 50 * scarce >= self.raw.open_seconds and handed[model] >= 10),
                }
            )
        return sorted(rows, key=lambda row: (-row["total_time_hours"], row["device_model"]))

    def handoffs(self) -> list[str]:
        """The device of each session that another user began within 120 s after it became free.

        The list of sessions names the user of one by hand and the team of an automated one.
        """
        found, held = [], {}
        for piece in sorted(self.pieces, key=lambda p: (p.session.device, p.start, p.end)):
            session = piece.session
            user = (session.automated, session.team if session.automated else session.email)
            until, before = held.get(session.device, (None, None))
            if until is not None and 0 <= piece.start - until <= 120 and user != before:
                found.append(session.device)
            if until is None or piece.end >= until:
                held[session.device] = (piece.end, user)
        return found

    @cached_property
    def sold_out_week(self) -> dict[tuple[int, int], float]:
        """Minutes an hour in which some model of two devices or more was sold out, by weekday and hour."""
        spans = union(s for m, d in self.pools.items() if len(d) > 1 for s in self.sold_out(m))
        hours = self.raw.week(self.raw.seconds_by_hour(self.raw.month, spans))
        return {cell: 60 * share for cell, share in hours.items()}

    @cached_property
    def movable(self) -> tuple[float, float, float]:
        """Automated hours in busy business time, sold-out minutes, and those left without them; of pools of two or more."""
        runs = busy_spans(p for p in self.pieces if p.session.automated)
        hand = busy_spans(p for p in self.pieces if not p.session.automated)
        hours = before = after = 0
        for model, devices in self.pools.items():
            if len(devices) < 2:
                continue
            tight = [(a, b) for a, b, n in self.pool_steps(model) if 10 * n >= 9 * len(devices)]
            for start, end, number in self.pool_steps(model, runs):
                for a, b in tight:
                    inside = overlap(self.opens, max(a, start), min(b, end)) if a < end and start < b else 0
                    hours += number * inside
            before += self.sold_out_seconds(model)
            after += sum(overlap(self.opens, *span) for span in self.sold_out(model, hand))
        return hours / HOUR, before / 60, after / 60

    # Single devices

    @cached_property
    def idle(self) -> list[tuple[str, int, str | None]]:
        """Devices without time: address, idle months of 13, the last month with time; the longest idle first."""
        used = {m: {p.session.device for p in self.raw.pieces[m] if p.end > p.start} for m in self.raw.months}
        found = []
        for device in self.raw.models:
            last = next((m for m in reversed(self.raw.months) if device in used[m]), None)
            months = 13 if last is None else 12 - self.raw.months.index(last)
            if months:
                found.append((device, months, last))
        return sorted(found, key=lambda row: (-row[1], row[0]))

    def fading(self, team: str | None = None) -> list[tuple[str, str, float, float, float]]:
        """Newly idle and fading devices: address, state, usual hours, hours before and now; most hours lost first."""
        by = [self.raw.hours_by(m, lambda s: s.device, of_team(team)) for m in self.raw.months[-4:]]
        found = []
        for device in set().union(*by):
            *three, now = (hours.get(device, 0.0) for hours in by)
            usual, before = median(three), three[-1]
            if now == 0 and (before >= 5 or all(three)):
                found.append((device, "idle", usual, before, now))
            elif now > 0 and usual >= 5 and now <= usual / 4:
                found.append((device, "fading", usual, before, now))
        return sorted(found, key=lambda row: (-(row[3] - row[4]), row[0]))

    @cached_property
    def twins(self) -> list[tuple[str, str, str, str, float, float]]:
        """Pairs of one model on one host never busy at once in three months, the least used taken first."""
        first, last = self.raw.borders[-4], self.raw.borders[-1]
        held = busy_spans(p for s in self.raw.sessions if (p := cut(s, first, last)))
        seconds = {device: sum(b - a for a, b in spans) for device, spans in held.items()}
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for device in sorted(held, key=lambda d: (seconds[d], d)):
            alike[self.raw.models[device], self.raw.places[device][0]].append(device)
        found = []
        for (model, host), devices in alike.items():
            taken: set[str] = set()
            for one, other in combinations(devices, 2):
                if taken.isdisjoint({one, other}) and not any(overlap(held[other], *s) for s in held[one]):
                    taken |= {one, other}
                    found.append((model, host, other, one, seconds[other] / HOUR, seconds[one] / HOUR))
        return sorted(found, key=lambda row: (row[4] + row[5], row[:2]))
