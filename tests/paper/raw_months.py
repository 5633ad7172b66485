"""A month against others and split up, from the raw sessions: figures, teams, sums, money and the next month."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from math import log
from statistics import median
from typing import Any

from tests.paper.raw_numbers import HOUR, Raw, effective, everything, log_mean, of_team, shift, workdays
from usagekit.analysis.wording import count_text, hours_text, signed, value_text

NOTHING_COMPARES = "n/a (no comparable data)"
UNITS = {
    "hours": "h",
    "users": "",
    "sessions": "",
    "mean_session": "min",
    "automation": "share",
    "devices": "",
    "calendar": "share",
    "business": "share",
}


def change(value: float | None, base: float | None, unit: str, *, small: bool) -> str:
    """(x - x0) / x0; absolute after little, in points for shares, with a decimal below 1."""
    if value is None or base is None:
        return NOTHING_COMPARES if value is not None else ""
    if value == base:
        return "unchanged"
    if unit != "share" and not base:
        return "new"
    if unit != "share" and small:
        return signed(value_text(abs(value - base), unit), value - base)
    percent = 100 * abs(value - base) / (1 if unit == "share" else base)
    if percent < 0.05:
        return "almost unchanged"
    amount = f"{percent:.1f}" if round(percent, 1) < 1 else count_text(percent)
    return signed(f"{amount} pp" if unit == "share" else f"{amount}%", value - base)


class Months:
    """The 13 months that end with the one of ``raw``, of a team or of the lab."""

    def __init__(self, raw: Raw, team: str | None = None) -> None:
        self.raw, self.scope = raw, of_team(team)
        self.history = raw.history(self.scope)
        # Where sessions have no user at all, their users were not recorded.
        self.history["users"] = [
            None if not u and s else u
            for u, s in zip(self.history["users"], self.history["sessions"], strict=True)
        ]
        if team is None:
            capacity = [
                len(raw.models) * (b - a) / HOUR for a, b in zip(raw.borders, raw.borders[1:], strict=False)
            ]
            pairs = zip(self.history["hours"], capacity, strict=True)
            self.history["calendar"] = [None if h is None else h / c for h, c in pairs]
            shares = [raw.business_share(m) if raw.comparable(m) else None for m in raw.months[-2:]]
            self.history["business"] = [*[None] * 11, *shares]

    @cached_property
    def hours(self) -> float:
        return self.raw.seconds(self.raw.month, self.scope) / HOUR

    @property
    def small(self) -> bool:
        hours, sessions = self.history["hours"][-2], self.history["sessions"][-2]
        return hours is not None and sessions is not None and (hours < 5 or sessions < 10)

    def change(self, name: str) -> str:
        before, now = self.history[name][-2:]
        return change(now, before, UNITS[name], small=self.small and name not in ("calendar", "business"))

    def rate_note(self) -> str:
        """Hours per business day, and how they changed."""
        hours = self.history["hours"][-2:]
        before, now = (
            h / workdays(m) if h else None for h, m in zip(hours, self.raw.months[-2:], strict=True)
        )
        if now is None:
            return ""
        changed = "" if self.small or before is None else f" ({change(now, before, 'h', small=False)})"
        return f"{hours_text(now)} per business day{changed}"

    def bridge(self) -> dict[str, float]:
        """L(H1, H0) * ln(f1 / f0) for users, sessions per user and time per session."""
        (h0, h1), (u0, u1), (s0, s1) = (self.history[name][-2:] for name in ("hours", "users", "sessions"))
        if not (h0 and h1 and u0 and u1 and s0 and s1):
            return {}
        factors = {
            "users": u1 / u0,
            "sessions per user": (s1 / u1) / (s0 / u0),
            "time per session": (h1 / s1) / (h0 / s0),
        }
        return {name: log_mean(h1, h0) * log(factor) for name, factor in factors.items()}

    def top(self, key: Callable[[Any], str | None]) -> list[tuple[int, str, float, float, int]]:
        """Rank, name, hours, share and number of the ten largest groups, and of all others as one."""
        hours = self.raw.hours_by(self.raw.month, key, self.scope)
        ranked = sorted((-h, name) for name, h in hours.items() if h)
        total = sum(hours.values())
        rows = [(n, name, -h, -h / total, 1) for n, (h, name) in enumerate(ranked[:10], 1)]
        rest = -sum(h for h, _ in ranked[10:])
        return [*rows, (0, "", rest, rest / total, len(ranked) - 10)] if len(ranked) > 10 else rows

    def concentration(self, key: Callable[[Any], str | None]) -> tuple[int, float, float]:
        """How many have time, as how many equal ones they are used, and the share of the largest."""
        used = [h for h in self.raw.hours_by(self.raw.month, key, self.scope).values() if h]
        return len(used), effective(used), max(used) / sum(used)

    @cached_property
    def sums(self) -> dict[str, float]:
        """The hours of the month added up in other ways."""
        raw = self.raw
        keys: dict[str, Callable[[Any], str | None]] = {
            "devices": lambda s: s.device,
            "models": lambda s: s.model,
            "users": lambda s: s.email,
        }
        parts = {name: sum(raw.hours_by(raw.month, key, self.scope).values()) for name, key in keys.items()}
        parts["hour bins"] = sum(raw.daily(raw.month, self.scope).values())
        parts["sessions × mean length"] = raw.mean_hours(self.scope)
        if self.scope is not everything:
            return parts
        more: dict[str, Callable[[Any], str | None]] = {
            "teams": lambda s: s.team,
            "hosts": lambda s: s.host,
            "countries": lambda s: s.country,
        }
        parts |= {name: sum(raw.hours_by(raw.month, key).values()) for name, key in more.items()}
        ways = (raw.seconds(raw.month, lambda s, way=way: s.automated is way) for way in (True, False))
        parts["automated + manual"] = sum(ways) / HOUR
        parts["events"] = raw.seconds(raw.month) / HOUR
        return parts

    # The lab

    @cached_property
    def teams(self) -> list[dict[str, Any]]:
        """The teams, largest change first, and last what belongs to none."""
        total = self.hours
        rows = []
        for team in {s.team for m in self.raw.months for s, *_ in self.raw.pieces[m]} - {None}:
            own = Months(self.raw, team)
            before, now = own.history["hours"][-2:]
            users = own.history["users"][-1]
            rows.append(
                {
                    "team": team,
                    "kind": "team",
                    "total_time_hours": now,
                    "share": now / total,
                    "change_hours": None if before is None else now - before,
                    "change_share": now / before - 1 if before and not own.small else None,
                    "change": own.change("hours"),
                    "user_count": users,
                    "automation_share": own.history["automation"][-1],
                    "history": own.history["hours"],
                }
            )
        rows.sort(key=lambda r: (-abs(r["change_hours"] or 0), -r["total_time_hours"], r["team"]))
        rest = total - sum(r["total_time_hours"] for r in rows)
        if abs(rest) > 1e-6:
            kind = "no team" if self.raw.month < "2022-09" else "unattributed"
            rows.append({"team": None, "kind": kind, "total_time_hours": rest, "share": rest / total})
        return rows

    def showback(self, cents: int, mode: str) -> list[tuple[str | None, Fraction, int]]:
        """Team, hours and cents; rounded down, and the cents left over to the largest remainders."""
        rows = [(r["team"], Fraction(round(r["total_time_hours"] * HOUR), HOUR)) for r in self.teams]
        rows = [row for row in rows if row[1] > 0]
        if mode == "used":
            first, last = self.raw.borders[-2:]
            capacity = Fraction(len(self.raw.models) * (last - first), HOUR)
            rows.append((None, capacity - sum(h for _, h in rows)))
        whole = sum(h for _, h in rows)
        exact = [cents * h / whole for _, h in rows]
        given = [int(part) for part in exact]
        for place in sorted(range(len(rows)), key=lambda n: given[n] - exact[n])[: cents - sum(given)]:
            given[place] += 1
        return [(team, hours, part) for (team, hours), part in zip(rows, given, strict=True)]

    def forecast(self) -> tuple[str, float, float, float] | None:
        """The month to come, its hours, and the band: rates a business day of the last three months."""
        known = [h for h in self.history["hours"] if h is not None]
        coming = shift(self.raw.month, 1)
        if len(known) < 4:
            return None
        rates = [h / workdays(m) for h, m in zip(known[-3:], self.raw.months[-3:], strict=True)]
        return coming, *(workdays(coming) * rate for rate in (median(rates), min(rates), max(rates)))
