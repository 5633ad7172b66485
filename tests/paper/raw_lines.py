"""The numbers of key figures and of what the pages tell in lines, from the raw sessions; only the wording is the package's."""

from __future__ import annotations

from typing import Any

from tests.paper.raw_months import UNITS
from tests.paper.raw_numbers import HOUR
from tests.paper.raw_people import quantile, weeks_median
from tests.paper.raw_words import Words, length
from usagekit.analysis.wording import count_text, hours_text, minutes_text, percent_text, signed

Row = tuple[str, Any, str]
Fact = tuple[str, list[str]]
"""A label with its number, and the numbers that explain it close by."""

LABELS = (
    "Device hours",
    "Active users",
    "Sessions",
    "Mean session",
    "Automation share",
    "Devices used",
    "Calendar utilisation",
    "Business utilisation",
)
SPIKE = "Spike of lengths"


class Lines:
    """What a report of a team or of the lab tells in lines."""

    def __init__(self, words: Words) -> None:
        self.words, self.raw, self.months = words, words.raw, words.months
        self.fleet, self.sessions, self.team = words.fleet, words.sessions, words.team

    # Files

    def key_figures(self) -> list[dict[str, Any]]:
        """A row a key figure; nothing compares with the year before, which lies before the change of era."""
        rows = []
        for label, (name, unit) in zip(LABELS, UNITS.items(), strict=True):
            history = self.months.history.get(name)
            if history is None or (name == "devices" and self.team is not None):
                continue
            *_, before, now = history
            percent = before and unit != "share" and not self.months.small
            rows.append(
                {
                    "key": name,
                    "label": label,
                    "unit": unit or "count",
                    "value": now,
                    "previous": before,
                    "year_ago": None,
                    "change": None if before is None else now - before,
                    "change_share": (now - before) / before if percent else None,
                    "year_change": None,
                    "year_change_share": None,
                    "reason": "",
                    "note": self._note(name),
                    **dict(zip(self.raw.months, history, strict=True)),
                }
            )
        return rows

    def _note(self, name: str) -> str:
        if name == "hours":
            return self.months.rate_note()
        if name in ("devices", "calendar", "business"):
            return f"of {count_text(len(self.raw.models))} devices"
        own = [p for p in self.raw.pieces[self.raw.month] if self.months.scope(p.session)]
        begun = [p.session.end - p.session.start for p in own if p.session.start >= self.raw.borders[-2]]
        mean, told = sum(p.end - p.start for p in own) / len(own), sum(begun) / len(begun)
        differs = name == "mean_session" and abs(mean - told) > told / 100
        return f"the API's own mean: {minutes_text(told / 60)}" if differs else ""

    def people(self) -> list[Row]:
        flow, (starters, waits, not_yet) = self.sessions.flow(), self.sessions.regulars()
        names = ("active", "new", "returning", "revived", "lapsed", "known_months")
        count, equal, top = self.months.concentration(lambda s: s.email)
        unseen = starters - len(waits) - not_yet
        return [
            *((name, flow[name], "count") for name in names),
            ("starters", starters, "count"),
            ("regular", len(waits), "count"),
            ("unseen", unseen, "count"),
            ("weeks_to_regular", weeks_median(waits), "weeks"),
            ("people", count, "count"),
            ("people_effective", equal, "count"),
            ("people_top_share", top, "share"),
        ]

    def devices(self) -> list[Row]:
        count, equal, top = self.months.concentration(lambda s: s.device)
        rows: list[Row] = [
            ("devices", count, "count"),
            ("devices_effective", equal, "count"),
            ("devices_top_share", top, "share"),
        ]
        return [*rows, ("sold_out", self.scarcest()["sold_out_minutes"], "min")] if self.team else rows

    def lengths(self) -> list[Row]:
        own, rows = self.sessions, list[Row]()
        for kind, (count, *levels, short, long) in own.lengths().items():
            rows.append((f"{kind}_sessions", count, "count"))
            rows += [(f"{kind}_p{p}", m, "min") for p, m in zip((50, 90, 99), levels, strict=True)]
            rows += [(f"{kind}_under_minute", short, "share"), (f"{kind}_over_8h", long, "share")]
        held, manual = own.holds
        by_hand = [p.session.end - p.session.start for p in own.own if not p.session.automated]
        hours = sum(row[4] for row in held)
        rows += [("holds", len(held), "count"), ("holds_hours", hours, "h")]
        rows += [("holds_share", hours / manual, "share")]
        rows += [("holds_longer_than", quantile(by_hand, 95) / HOUR, "h")]
        for place, (seconds, count, _) in enumerate(own.spikes(), 1):
            rows += [(f"spike_{place}_length", seconds, "s"), (f"spike_{place}_sessions", count, "count")]
        count, false, bursts = own.false_starts()
        rows += [("spikes", len(own.spikes()), "count"), ("false_starts", false, "count")]
        rows += [("false_starts_share", false / count, "share"), ("false_starts_bursts", bursts, "count")]
        if self.team:
            rows += [
                ("coverage", own.coverage(), "share"),
                ("suspect_devices", len(self.suspects()), "count"),
            ]
        return rows

    def capacity(self) -> list[Row]:
        most, at = self.fleet.peak()
        hours, before, after = self.fleet.movable
        levels = [(f"enough_in_{p}%", self.fleet.enough(self.fleet.steps, p), "count") for p in (95, 99)]
        return [
            ("peak", most, "count"),
            ("peak_at", at.isoformat(), "time"),
            *levels,
            ("movable_automation", hours, "h"),
            ("sold_out", before, "min"),
            ("sold_out_without", after, "min"),
            ("saved", 1 - after / before, "share"),
            *self.devices(),
        ]

    def moved(self) -> list[Row]:
        before, now = self.months.history["hours"][-2:]
        return [("change", now - before, "h"), *((name, h, "h") for name, h in self.months.bridge().items())]

    # Print

    def facts(self) -> list[Fact]:
        """What stands on the pages of a team or of the lab alone, and the spikes of both."""
        spikes, count = self.sessions.spikes(), len(self.sessions.own)
        told: list[Fact] = [(f"{SPIKE} none", [])]
        if spikes:
            seconds, alike, _ = spikes[0]
            of = f"{count_text(alike)} of {count_text(count)} sessions"
            told = [
                (f"{SPIKE} {length(seconds)}", [of, *([f"{len(spikes) - 1} more"] if spikes[1:] else [])])
            ]
        if self.team is None:
            (_, change, _), *split = self.moved()
            steps = [f"{name} {signed(hours_text(abs(h)), h)}" for name, h, _ in split]
            return [*told, (f"What moved the hours {signed(hours_text(abs(change)), change)}", steps)]
        scarce = self.scarcest()
        minutes, suspects = scarce["sold_out_minutes"], len(self.suspects())
        out = f"{scarce['device_model']} sold out for {minutes_text(minutes)} in the whole lab"
        told.append((f"Models {out if minutes else 'no main model was sold out'}", []))
        devices, equal, top = self.months.concentration(lambda s: s.device)
        even = f"Devices {devices} used as evenly as {equal:.0f}; the top one has {percent_text(top)}"
        return [*told, (f"{even}; {suspects or 'none'} suspect", [])]

    def scarcest(self) -> dict[str, Any]:
        """The main model of two devices or more that was sold out longest."""
        return max((r for r in self.words.sizes() if r["owned"] > 1), key=lambda r: r["sold_out_minutes"])

    def suspects(self) -> list[str]:
        main = {name for _, name, *_ in self.months.top(lambda s: s.device)}
        return [row[0] for row in self.sessions.suspects() if row[0] in main]
