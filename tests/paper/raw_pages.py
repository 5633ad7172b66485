"""What the files of a report must hold and its pages must say, from the raw sessions; only the wording is the package's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from tests.paper.raw_lines import LABELS, Fact, Lines
from tests.paper.raw_months import UNITS
from tests.paper.raw_people import weeks_median
from tests.paper.raw_words import Words
from usagekit.analysis.wording import (
    compared_texts,
    count_text,
    hours_text,
    minutes_text,
    money_text,
    percent_text,
    signed,
    value_text,
)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
BUCKETS = ("<1 min", "1–10 min", "10–30 min", "30–120 min", ">120 min")
DASH = "–"
Table = list[dict[str, Any]]


class Pages:
    """The files and pages of a team or of the lab; ``cents`` is the price of the month, by use."""

    def __init__(self, words: Words, *, cents: int) -> None:
        self.words, self.raw, self.months = words, words.raw, words.months
        self.fleet, self.sessions, self.cents = words.fleet, words.sessions, cents
        self.lines = Lines(words)
        self.week = self.raw.week(self.raw.by_hour(self.raw.month, self.months.scope))
        self.daily = self.raw.daily(self.raw.month, self.months.scope)

    @cached_property
    def files(self) -> dict[str, Table]:
        """The rows of each file by its name, with every column that it may have."""
        return self._of_lab() if self.words.team is None else self._of_team()

    def tables(self, heads: dict[str, list[str]]) -> dict[str, list[str]]:
        """The rows of each printed table, in order, with the columns of its file; a table may print the first ones only."""
        heads = heads | PRINTED
        tables = {
            name: [_row(row, heads[name]) for row in rows]
            for name, rows in self.files.items()
            if name in TABLES
        }
        cells = [[self.week.get((day, hour), 0.0) for hour in range(24)] for day in range(7)]
        tables["week"] = [
            " ".join([DAYS[day][:3], *(_busy(value) for value in row if value)])
            for day, row in enumerate(cells)
        ]
        return tables

    def other_models(self, shown: int) -> str:
        """The row that adds up the models beyond those that are printed."""
        rest = self.fleet.sizes[shown:]
        sums = {key: sum(row[key] for row in rest) for key in (*COUNTS, "total_time_hours")}
        owned, used, spare, handoffs, *_ = (count_text(sums[key]) for key in COUNTS)
        hours = hours_text(sums["total_time_hours"])
        return f"{len(rest)} more {owned} {used} {hours} – – {spare} – {handoffs} {_candidates(sums) or ''}"

    def facts(self) -> list[Fact]:
        """The numbers that stand in no table."""
        day = max(self.daily, key=lambda day: self.daily[day])
        (weekday, hour), most = max(self.week.items(), key=lambda item: item[1])
        common = [
            *self._tiles(),
            (f"{DAYS[weekday]}s {hour}:00 to {hour + 1}:00 were busiest with {_busy(most)}", []),
            *self._people(),
            *self._lengths(),
            *self.lines.facts(),
        ]
        if self.words.team is not None:
            steps = [(row["step"], row["hours"]) for row in self.files["what-moved-the-hours"]]
            ends = [(f"{name} {hours_text(hours)}", []) for name, hours in (steps[0], steps[-1])]
            moved = [(f"{name} {signed(hours_text(abs(h)), h)}", []) for name, h in steps[1:-1]]
            busiest = f"{day:%A} {day.day} {day:%B} was the busiest day with {hours_text(self.daily[day])}"
            return [*common, *ends, *moved, (busiest, [])]
        return [*common, *self._capacity(), *self._money()]

    # Files

    def _cells(self) -> Table:
        return [
            {"weekday": DAYS[day], "hour": hour, "mean_devices_busy": self.week[day, hour]}
            for day in range(7)
            for hour in range(24)
        ]

    def _of_team(self) -> dict[str, Table]:
        before = self.raw.daily(self.raw.before, self.months.scope)
        by_day = {day.day: hours for day, hours in before.items()}
        hours = self.months.history["hours"]
        steps = [
            (name_of_month(self.raw.before), hours[-2]),
            *((name.capitalize(), effect) for name, effect in self.months.bridge().items()),
            (name_of_month(self.raw.month), hours[-1]),
        ]
        days = [(f"{day}T00:00:00", spent, by_day.get(day.day)) for day, spent in self.daily.items()]
        mix = [(bucket, *row) for bucket, row in zip(BUCKETS, self.sessions.mix(), strict=True)]
        fading = self.fleet.fading(self.words.team)
        return {
            "key-figures": self.lines.key_figures(),
            "people": _table([*self.lines.people(), *self.lines.devices()], *LINE),
            "sessions": _table(self.lines.lengths(), *LINE),
            "what-moved-the-hours": _table(steps, "step", "hours"),
            "device-hours-per-day": _table(days, "date", "total_time_hours", "previous_hours"),
            "devices-busy-by-weekday-and-hour": self._cells(),
            "devices": self._largest("device"),
            "models": self._largest("model"),
            "sessions-by-length": _table(mix, "bucket", "sessions", "share", "total_time_hours"),
            "idle-or-fading-devices": _table(fading, *FADING),
        }

    def _largest(self, attribute: str) -> Table:
        column = {"device": "device_address", "model": "device_model"}[attribute]
        rows = self.months.top(lambda session: getattr(session, attribute))
        return [
            {"rank": rank, column: name, "total_time_hours": hours, "share": share, "groups": count}
            | {"shown": name or f"{count} more"}
            for rank, name, hours, share, count in rows
        ]

    def _all_teams(self, like: dict[str, Any]) -> dict[str, Any]:
        """The lab below its teams: its own counts and change, not the sums of theirs."""
        history = self.months.history
        hours = history["hours"]
        return (
            dict.fromkeys(like)
            | {
                "team": "All",
                "kind": "all",
                "total_time_hours": hours[-1],
                "share": 1.0,
                "change_share": hours[-1] / hours[-2] - 1,
                "change": self.months.change("hours"),
                "change_hours": hours[-1] - hours[-2],
                "user_count": history["users"][-1],
                "automation_share": history["automation"][-1],
            }
            | self._by_month(hours)
        )

    def _by_month(self, hours: Iterable[float | None]) -> dict[str, float | None]:
        return {f"hours_{month}": h for month, h in zip(self.raw.months, hours, strict=True)}

    def _of_lab(self) -> dict[str, Table]:
        raw, total, models = self.raw, self.months.hours, self.raw.models
        longer = enumerate(self.fleet.longer(self.fleet.steps))
        history = zip(raw.months, self.months.history["hours"], strict=True)
        idle = [
            (
                *(d, models[d], n, last or ""),
                *(("13+", f"before {_month(raw.year)}") if last is None else (str(n), _month(last))),
                "",
            )
            for d, n, last in self.fleet.idle
        ]
        held = [
            (device, self._local(start), self._local(end), hours, hold)
            for device, start, end, hours, hold in self.sessions.holds[0][:10]
        ]
        teams = [
            {key: row[key] for key in row if key != "history"} | self._by_month(row["history"])
            for row in self.months.teams
        ]
        split = self.months.showback(self.cents, "used")
        whole = sum(hours for _, hours, _ in split)
        costs = [(t or "unused", float(h), float(h / whole), cents / 100) for t, h, cents in split]
        sums = [(name, total, hours, hours - total) for name, hours in self.months.sums.items()]
        suspects = [(d, n, bad, bad / n, *more) for d, n, bad, *more in self.sessions.suspects()]
        idle_columns = ("device_address", "device_model", "idle_months", "last_used_month")
        return {
            "key-figures": self.lines.key_figures(),
            "what-moved-the-hours": _table(self.lines.moved(), *LINE),
            "peaks-and-spread": _table(self.lines.capacity(), *LINE),
            "people": _table(self.lines.people(), *LINE),
            "sessions": _table(self.lines.lengths(), *LINE),
            "teams": [*teams, self._all_teams(teams[0])],
            "do-the-numbers-add-up": _table(sums, "part", "total_hours", "sum_hours", "difference_hours"),
            "devices-busy-by-weekday-and-hour": [
                row | {"sold_out_minutes": self.fleet.sold_out_week[DAYS.index(row["weekday"]), row["hour"]]}
                for row in self._cells()
            ],
            "devices-busy-at-once": [
                {"devices": k, "minutes": spent / 60, "share": spent / raw.open_seconds}
                for k, spent in longer
            ],
            "countries": _table(self.fleet.sites("country"), "country", *SITE),
            "hosts": _table(self.fleet.sites("hostname"), "hostname", *SITE),
            "devices-owned-and-needed-by-model": [
                row | {"candidates": _candidates(row)} for row in self.fleet.sizes
            ],
            "idle-devices": _table(idle, *idle_columns, "idle_for", "last_month", "note"),
            "newly-idle-and-fading-devices": [
                row | {"device_model": models[row["device_address"]], "note": ""}
                for row in _table(self.fleet.fading(), *FADING)
            ],
            "suspect-devices": _table(suspects, *SUSPECT),
            "surplus-twins": _table(self.fleet.twins, *TWINS),
            "longest-holds": _table(held, "device_address", "start", "end", "hours", "hold_hours"),
            "showback": _table(
                [*costs, ("All", None, 1.0, self.cents / 100)], "team", "total_time_hours", "share", "cost"
            ),
            "device-hours-next-month": _table(
                [*((*row, None, None) for row in history), self.months.forecast() or ()],
                *("month", "total_time_hours", "low_hours", "high_hours"),
            ),
        }

    def _local(self, at: int) -> str:
        return datetime.fromtimestamp(at, self.raw.zone).isoformat()

    # Print

    def _tiles(self) -> list[Fact]:
        facts = []
        for label, (name, unit) in zip(LABELS, UNITS.items(), strict=True):
            history = self.months.history.get(name)
            if history is None or (name == "devices" and self.words.team is not None):
                continue
            known = [value for value in history if value is not None]
            low, high = (value_text(pick(known), unit) for pick in (min, max))
            moved = self.months.change(name)
            value, before = compared_texts(history[-1] or 0, history[-2] or 0, unit)
            base = [before] if moved[0] in "+−" else []
            note = [self.months.rate_note()] if name == "hours" else []
            numbers = [moved, *base, low if low == high else f"{low} to {high}", *note]
            facts.append((f"{label} {value}", numbers))
        return facts

    def _people(self) -> list[Fact]:
        flow, (starters, waits, _) = self.sessions.flow(), self.sessions.regulars()
        facts: list[Fact] = [
            (f"{name.capitalize()} {flow[name]}", []) for name in ("new", "returning", "revived", "lapsed")
        ]
        weeks = weeks_median(waits)
        if weeks is not None:
            facts.append((f"Weeks to regular use {weeks:g}", [f"{len(waits)} of {starters}"]))
        count, equal, top = self.months.concentration(lambda s: s.email)
        return [*facts, (f"People, effective {equal:.0f}", [str(count), percent_text(top)])]

    def _lengths(self) -> list[Fact]:
        facts = []
        for kind, label in (("manual", "By hand"), ("automated", "Automated")):
            _, *levels, _, long = self.sessions.lengths()[kind]
            middle, *ends = map(minutes_text, levels)
            over = [f"{percent_text(long)} over 8 h"] if long else []
            facts.append((f"{label}, median {middle}", [*ends, *over]))
        rows, manual = self.sessions.holds
        held = sum(row[4] for row in rows)
        count, false, _ = self.sessions.false_starts()
        return [
            *facts,
            (f"Long holds {hours_text(held)}", [f"in {len(rows)} sessions", percent_text(held / manual)]),
            (f"False starts {percent_text(false / count)}", [f"{false} of {count_text(count)}"]),
            *(
                []
                if self.words.team is None
                else [(f"Coverage {percent_text(self.sessions.coverage())}", [])]
            ),
        ]

    def _capacity(self) -> list[Fact]:
        most, at = self.fleet.peak()
        low, high = (self.fleet.enough(self.fleet.steps, percent) for percent in (95, 99))
        hours, before, after = self.fleet.movable
        (day, hour), minutes = max(self.fleet.sold_out_week.items(), key=lambda item: item[1])
        count, equal, top = self.months.concentration(lambda s: s.device)
        sums = [(f"{name.capitalize()} {hours_text(spent)}", []) for name, spent in self.months.sums.items()]
        return [
            *sums,
            (f"Peak {most}", [f"{at.day} {at:%B %Y}", f"{at:%H:%M}"]),
            (f"95% of business time {low}", []),
            (f"99% of business time {high}", []),
            ("Enough devices:", [f"{low} in 95%", f"{high} in 99%", str(most), str(len(self.raw.models))]),
            (
                f"Movable automation {hours_text(hours)}",
                [percent_text(1 - after / before), minutes_text(before)],
            ),
            (f"Sold out longest on {DAYS[day]}s from {hour}:00", [minutes_text(minutes)]),
            (f"Devices, effective {equal:.0f}", [str(count), percent_text(top)]),
        ]

    def _money(self) -> list[Fact]:
        coming = self.months.forecast()
        assert coming is not None
        month, *hours = coming
        middle, low, high = map(hours_text, hours)
        everything = money_text(Decimal(self.cents).scaleb(-2))
        return [
            (f"{name_of_month(month)}: {middle}", [low.removesuffix("h").strip(), high]),
            (f"All 100% {everything}", []),
        ]


FADING = ("device_address", "state", "usual_hours", "before_hours", "hours")
SITE = ("owned", "used", "total_time_hours", "business_utilisation")
SUSPECT = ("device_address", "sessions", "false_starts", "rate", "lower", "fleet_rate")
TWINS = ("device_model", "hostname", "first", "second", "first_hours", "second_hours")


def _text(value: Any) -> str:
    return str(value)


def _day(stamp: str | None) -> str:
    return DASH if stamp is None else f"{(at := datetime.fromisoformat(stamp)).day} {at:%b %Y}"


def _moment(stamp: str) -> str:
    return f"{_day(stamp)}, {datetime.fromisoformat(stamp):%H:%M}"


def _share(value: float | None) -> str:
    return DASH if value is None else percent_text(value)


def _moved(hours: float) -> str:
    return signed(hours_text(abs(hours)), hours)


def _money(value: float) -> str:
    return money_text(Decimal(str(value)))


def _candidates(row: dict[str, Any]) -> str | None:
    return ", ".join(f"{word} {row[word]}" for word in ("retire", "add") if row[word]) or None


LINE = ("measure", "value", "unit")
COUNTS = ("owned", "used", "spare", "handoffs", "retire", "add")
PRINTED = {
    "devices-owned-and-needed-by-model": [
        *("device_model", "owned", "used", "total_time_hours", "peak", "needed_99", "spare"),
        *("sold_out_minutes", "handoffs", "candidates"),
    ],
    **{name: ["shown", "total_time_hours", "share"] for name in ("devices", "models")},
    "teams": [
        *("team", "total_time_hours", "share", "change", "change_hours", "user_count", "automation_share")
    ],
    "idle-devices": ["device_address", "device_model", "idle_for", "last_month", "note"],
}
"""The printed columns of tables whose files have others: numbers for words."""

TABLES = {
    *("devices", "models", "sessions-by-length", "idle-or-fading-devices", "teams", "countries", "hosts"),
    *("devices-owned-and-needed-by-model", "idle-devices", "newly-idle-and-fading-devices"),
    *("suspect-devices", "surplus-twins", "longest-holds", "showback"),
}
_HOURS = (
    "total_time_hours",
    "usual_hours",
    "before_hours",
    "hours",
    "hold_hours",
    "first_hours",
    "second_hours",
)
_SHARES = ("share", "automation_share", "business_utilisation", "rate", "lower", "fleet_rate")
WORDS: dict[str, Any] = {
    **dict.fromkeys(_HOURS, hours_text),
    **dict.fromkeys(_SHARES, _share),
    **dict.fromkeys(("sessions", "false_starts", "user_count", "handoffs"), count_text),
    "change_hours": _moved,
    "sold_out_minutes": lambda minutes: DASH if minutes is None else minutes_text(minutes),
    "start": _moment,
    "end": _moment,
    "cost": _money,
}
"""How the values of a column are printed; the others are texts."""


def name_of_month(month: str) -> str:
    return f"{datetime.fromisoformat(f'{month}-01'):%B %Y}"


def _month(name: str) -> str:
    return f"{datetime.fromisoformat(f'{name}-01'):%b %Y}"


def _table(rows: Iterable[tuple[Any, ...]], *columns: str) -> Table:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _row(row: dict[str, Any], columns: Iterable[str]) -> str:
    cells = [(row[key], WORDS.get(key, _text)) for key in columns]
    total = row.get("team") == "All"  # only what adds up
    return " ".join(
        words(v)
        for key, (v, words) in zip(columns, cells, strict=True)
        if v is not None or ((words in (_day, _share) or key == "sold_out_minutes") and not total)
    )


def _busy(value: float) -> str:
    return "·" if value < 0.05 else f"{value:.1f}" if round(value, 1) < 10 else count_text(value)
