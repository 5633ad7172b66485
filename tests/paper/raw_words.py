"""What the numbers of a month lead to, by the rules: its finding and its suggestions, with the numbers they must name."""

from __future__ import annotations

from typing import Any

from tests.paper.raw_fleet import Fleet
from tests.paper.raw_months import Months
from tests.paper.raw_numbers import HOUR, Raw, usual_range
from tests.paper.raw_people import Sessions
from usagekit.analysis.wording import (
    count_text,
    hours_range_text,
    hours_text,
    minutes_text,
    percent_text,
    signed,
)

Said = tuple[str, list[str]]
"""How a sentence begins or what marks its rule, and the numbers in it."""


class Words:
    """What a report of a team or of the lab says by rule."""

    def __init__(self, raw: Raw, team: str | None = None) -> None:
        self.raw, self.team = raw, team
        self.months, self.fleet, self.sessions = Months(raw, team), Fleet(raw), Sessions(raw, team)
        hours = raw.hours_by(raw.month, lambda s: s.model, self.months.scope)
        self.models = {model for model, spent in hours.items() if spent >= sum(hours.values()) / 10}

    def sizes(self) -> list[dict[str, Any]]:
        """The models that concern the report."""
        return [row for row in self.fleet.sizes if self.team is None or row["device_model"] in self.models]

    def dormant(self) -> tuple[int, int]:
        """Devices idle for three months or more of all; of a team, those newly idle of all it used now or before."""
        if self.team is None:
            return sum(months >= 3 for _, months, _ in self.fleet.idle), len(self.raw.models)
        idle = sum(row[1] == "idle" for row in self.fleet.fading(self.team))
        used = self.raw.hours_by(self.raw.month, lambda s: s.device, self.months.scope)
        return idle, len(used) + idle

    def leader(self) -> str:
        """The team (of a team: the device) with the largest change the way the total went, if it is half of that."""
        what = (lambda s: s.team) if self.team is None else (lambda s: s.device)
        before, now = (self.raw.hours_by(m, what, self.months.scope) for m in self.raw.months[-2:])
        changes = {name: now.get(name, 0) - before.get(name, 0) for name in before | now}
        seconds = [self.raw.seconds(m, self.months.scope) for m in self.raw.months[-2:]]
        moved = (seconds[1] - seconds[0]) / HOUR
        way = 1 if moved > 0 else -1
        name = max(changes, key=lambda n: changes[n] * way)
        if abs(changes[name]) < abs(moved) / 2:
            return ""
        return f"{name} {signed(hours_text(abs(changes[name])), changes[name])}"

    def finding(self) -> Said:
        """The first rule that holds."""
        history = self.months.history["hours"]
        now, before, usual = history[-1] or 0.0, history[-2], usual_range(history)
        changed = self.months.change("hours")
        if usual:
            unusual = not usual[0] <= now <= usual[1]
            ranged = [hours_text(now), hours_range_text(*usual)]
        else:
            unusual = bool(before) and abs(now - before) >= max(before / 4, 10)
            ranged = [hours_text(now)]
        idle, of = self.dormant()
        asleep = f"{idle} of {of} devices idle"
        if unusual:
            split = self.months.bridge()
            factor = max(split, key=lambda f: split[f] * (1 if now > before else -1))
            said = [changed, *ranged, factor, self.leader()]
            return "Hours", [*said, asleep] if idle >= 2 else said
        worst = max(
            (r for r in self.sizes() if r["owned"] > 1), key=lambda r: r["sold_out_minutes"], default=None
        )
        if worst and worst["sold_out_minutes"] >= 60:
            where = "" if self.team is None else "in the whole lab for "
            said = [where + minutes_text(worst["sold_out_minutes"]), *ranged, changed]
            return worst["device_model"], said
        if idle >= 2:
            return asleep, [*ranged, changed]
        calm = before and abs(now - before) < before / 4
        return ("Steady", [*ranged, changed]) if calm else (hours_text(now), ranged)

    def suggestions(self) -> list[tuple[str, float, list[str]]]:
        """Rule, hours at stake and numbers of at most three, most hours first."""
        rules = (self._retire, self._add, self._release, self._automation, self._check, self._move)
        found = [said for rule in rules if (said := rule())]
        return sorted(found, key=lambda said: -said[1])[:3]

    def _retire(self) -> tuple[str, float, list[str]] | None:
        idle = self.dormant()[0]
        if self.team is not None or not idle:
            return None
        return "retire", idle * self.raw.open_seconds / HOUR, [f"{idle} devices", "3 months"]

    def _add(self) -> tuple[str, float, list[str]] | None:
        rows = [
            r for r in self.sizes() if r["owned"] > 1 and r["sold_out_share"] >= 0.02 and r["handoffs"] >= 10
        ]
        if not rows:
            return None
        first = max(rows, key=lambda r: r["sold_out_minutes"])
        said = [
            f"{first['device_model']} to {first['owned']}",
            minutes_text(first["sold_out_minutes"]),
            percent_text(first["sold_out_share"]),
            f"{count_text(first['handoffs'])} hand-offs",
        ]
        return "add", sum(r["sold_out_minutes"] for r in rows) / 60, said

    def _release(self) -> tuple[str, float, list[str]] | None:
        rows, manual = self.sessions.holds
        held = sum(row[4] for row in rows)
        if not held or held < manual / 10:
            return None
        return "release", held, [hours_text(held), hours_text(manual), percent_text(held / manual)]

    def _automation(self) -> tuple[str, float, list[str]] | None:
        spikes = self.sessions.spikes()
        if not spikes:
            return None
        seconds, count, _ = spikes[0]
        said = [f"{count_text(count)} of {count_text(len(self.sessions.own))} sessions", length(seconds)]
        return "automation", sum(s * n for s, n, _ in spikes) / HOUR, said

    def _check(self) -> tuple[str, float, list[str]] | None:
        main = {name for _, name, *_ in self.months.top(lambda s: s.device)}
        rows = [row for row in self.sessions.suspects() if self.team is None or row[0] in main]
        if not rows:
            return None
        device, sessions, false, _, fleet = rows[0]
        said = [device, f"{false} of {count_text(sessions)} sessions", percent_text(fleet)]
        return "check", sum(row[2] for row in rows) / 60, said

    def _move(self) -> tuple[str, float, list[str]] | None:
        if self.team is not None:
            return None
        hours, before, after = self.fleet.movable
        if not before or 1 - after / before < 0.5:
            return None
        said = [hours_text(hours), percent_text(1 - after / before), minutes_text(before)]
        return "move", (before - after) / 60, said


def length(seconds: int) -> str:
    """A length to the second."""
    parts = ((seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{n}\u00a0{unit}" for n, unit in parts if n)
