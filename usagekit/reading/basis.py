"""What every reading has: its evidence, its clock, and the month against others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, TypedDict, TypeVar

import pandas as pd

from usagekit.analysis import concurrency, shape, substitutes
from usagekit.analysis.finding import change_split, leader
from usagekit.analysis.history import comparable_history
from usagekit.analysis.kpis import NOT_KNOWN, Kpi, kpis
from usagekit.analysis.months import days_bounds, month_bounds
from usagekit.analysis.movers import movers
from usagekit.evidence import Evidence
from usagekit.figures.layout import NOT_FETCHED
from usagekit.period import days_name, month_name, parse_month, shift_month

T = TypeVar("T")
RUNNING: Final = "the month still runs"
_OVER: Final = ("idle", "fading", "forecast")
"""What only a month that is over can tell."""

_MODELS: Final = ("events", "fleet", "models")
_RESTS_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "users": ("user_count",),
    "sessions": ("session_count",),
    "mean_session": ("session_count",),
    "automation": ("automated",),
    "devices": ("device_count",),
    "calendar": ("devices", "device_count"),
    "business": ("hourly", "devices"),
    **dict.fromkeys(("idle", "fading"), ("devices",)),
    **dict.fromkeys(("spikes", "suspects", "holds"), ("events",)),
    "showback": ("teams", "devices"),
    "top_devices": ("devices",),
    "top_models": ("models",),
    **dict.fromkeys(("sizes", "twins", "movable", "sold_out_week"), _MODELS),
    "country": ("events", "fleet", "countries"),
    "hostname": ("events", "fleet", "hosts"),
}
"""By figure or property the names of what it rests on, as ``Evidence.missing`` has them."""

_FACTORS: Final = ("total_time_hours", "user_count", "session_count")


class _At(TypedDict):
    month: str
    timezone: str


class Basis:
    """The evidence of a month and what follows from its hours alone."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.lab, self.month, self.team = evidence.lab, evidence.month, evidence.team
        self.timezone, self.business = self.lab.timezone, self.lab.business_hours
        self.at: _At = {"month": self.month, "timezone": self.timezone}

    @cached_property
    def until(self) -> pd.Timestamp:
        """The end (UTC) of the month, of a running one that of its last whole day."""
        return self.two_spans[1][1]

    @cached_property
    def two_spans(self) -> tuple[substitutes.Span, substitutes.Span]:
        """From when to when (UTC) the month before and this one last; of a running one, the days that compare."""
        whole = [parse_month(month) for month in (shift_month(self.month, -1), self.month)]
        before, now = (days_bounds(days, self.timezone) for days in self.evidence.partial or whole)
        return before, now

    @cached_property
    def elapsed_hours(self) -> float:
        """Hours (h) of the month on the clock of the lab."""
        return (self.until - month_bounds(self.month, self.timezone)[0]) / pd.Timedelta(hours=1)

    @cached_property
    def spells(self) -> pd.DataFrame:
        """The business hours of the month."""
        return concurrency.business_spells(self.month, self.timezone, self.business, until=self.until)

    @cached_property
    def business_minutes(self) -> float:
        """How long (min) the lab was open."""
        return concurrency.business_minutes(self.month, self.timezone, self.business, until=self.until)

    @cached_property
    def hours(self) -> float:
        """Device hours (h) of the month."""
        now = self.evidence.now(self.evidence.usage)
        return 0.0 if now is None else float(now["total_time_hours"].sum())

    @cached_property
    def top_devices(self) -> pd.DataFrame | None:
        """The ten devices with most hours of the month, and the others as one row."""
        now = self.evidence.now(self.evidence.devices)
        return self.given(now, lambda devices: shape.top_rows(devices, "device_address"))

    @cached_property
    def top_models(self) -> pd.DataFrame | None:
        """The ten models with most hours of the month, and the others as one row."""
        now = self.evidence.now(self.evidence.models)
        return self.given(now, lambda models: shape.top_rows(models, "device_model"))

    @cached_property
    def measured(self) -> tuple[Kpi, ...]:
        """Device hours, active users, sessions, mean session and automation share, each by its own route."""
        evidence = self.evidence
        found = kpis(
            evidence.usage,
            evidence.automated,
            month=self.month,
            business=self.business,
            partial=evidence.partial,
        )
        return self.with_reasons(found)

    def with_reasons(self, figures: Sequence[Kpi]) -> tuple[Kpi, ...]:
        """Figures that are missing, with the reason that the API gave for what they rest on."""
        told = ((k, self.refused(k.key)) for k in figures)
        return tuple(replace(k, reason=why) if k.reason == NOT_KNOWN and why else k for k, why in told)

    def refused(self, name: str) -> str:
        """What the API said when it refused what a figure or property rests on; empty where it did not."""
        reasons = self.evidence.missing
        return next((reasons[part] for part in _RESTS_ON.get(name, ()) if part in reasons), "")

    @cached_property
    def title(self) -> str:
        """The month as it heads the report, or the days of a running one."""
        partial = self.evidence.partial
        return f"{days_name(partial[1])} (partial)" if partial else month_name(self.month)

    @property
    def days(self) -> tuple[str, str] | None:
        """Of a running month the days of the month before that compare, and its own, in words."""
        partial = self.evidence.partial
        return partial and (days_name(partial[0], year=True), days_name(partial[1], year=True))

    @cached_property
    def bridge(self) -> dict[str, float]:
        """What users, sessions per user and time per session did to the hours (h); empty where nothing compares."""
        pairs = [
            comparable_history(self.evidence.usage, column, month=self.month)[-2:] for column in _FACTORS
        ]
        return change_split(*pairs)

    @cached_property
    def daily(self) -> pd.DataFrame | None:
        """Hours (h) by day; missing for days of a running month that are to come, also those of the month before."""
        days = self.given(self.evidence.hourly, lambda hourly: shape.daily_hours(hourly, **self.at))
        if days is None or self.evidence.partial is None:
            return days
        known = days["date"] <= pd.Timestamp(self.evidence.partial[1].end)
        hours = {column: days[column].where(known) for column in ("total_time_hours", "previous_hours")}
        return days.assign(**hours)

    @property
    def binned_hours(self) -> float | None:
        """Device hours (h) of the month by its hourly bins."""
        return self.given(self.daily, lambda daily: float(daily["total_time_hours"].sum()))

    @cached_property
    def week(self) -> pd.DataFrame | None:
        """Mean number of devices busy by weekday and hour."""
        return self.given(
            self.evidence.hourly,
            lambda hourly: shape.weekday_hour_profile(hourly, **self.at, until=self.until),
        )

    def sum_hours(self, frame: pd.DataFrame | None) -> float | None:
        """Hours (h) of the month in a frame of 13 months."""
        return self.given(self.evidence.now(frame), lambda now: float(now["total_time_hours"].sum()))

    def moved(self, frame: pd.DataFrame | None, column: str, word: str) -> str:
        """Which group is behind most of the change, in words; empty where nobody knows.

        Of a running month ``frame`` must hold the same days of the month before.
        """
        if frame is None:
            return ""
        before = frame[frame["datetime"] == f"{shift_month(self.month, -1)}-01"]
        now = frame[frame["datetime"] == f"{self.month}-01"]
        totals = (float(before["total_time_hours"].sum()), float(now["total_time_hours"].sum()))
        return leader(movers(before, now, column=column, part=word, totals=totals), word=word)

    def why(self, name: str) -> str:
        """Why there is no ``name`` (such as ``idle`` or ``sizes``), in words."""
        if self.evidence.partial and name in _OVER:
            return RUNNING
        return self.refused(name) or NOT_FETCHED

    @staticmethod
    def given(given: Any, compute: Callable[[Any], T]) -> T | None:
        """The result, None where what it rests on is missing."""
        return None if given is None else compute(given)
