"""The reading of the whole lab's month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from usagekit.analysis import concurrency, contention, sites, substitutes, suggestions
from usagekit.analysis.finding import Findings
from usagekit.analysis.forecast import Forecast, forecast
from usagekit.analysis.history import comparable_history
from usagekit.analysis.kpis import compared
from usagekit.analysis.money import Mode, showback
from usagekit.analysis.months import month_bounds
from usagekit.analysis.team_table import by_month, month_columns, team_table, total_row
from usagekit.analysis.trust import hours_inside
from usagekit.reading.utilisation import Utilisation


class LabReading(Utilisation):
    """What the evidence of a month says of the whole lab."""

    @property
    def own_events(self) -> pd.DataFrame | None:
        return self.named_events

    @property
    def own_sessions(self) -> pd.DataFrame | None:
        return self.all_sessions

    @cached_property
    def teams(self) -> pd.DataFrame | None:
        """The teams by how much their hours changed, and what belongs to none."""
        if self.evidence.teams is None:
            return None
        totals = comparable_history(self.evidence.usage, "total_time_hours", month=self.month)
        table = team_table(
            self.evidence.teams,
            self.evidence.teams_automated,
            total_hours=totals,
            month=self.month,
            no_team_hours=self.no_team_hours,
        )
        partial = self.evidence.partial
        return table.assign(history=table["history"].map(lambda row: tuple(compared(list(row), partial))))

    @property
    def teams_shown(self) -> pd.DataFrame | None:
        """The teams as a table shows them: what belongs to no team is named by its kind, and muted.

        Their 13 months are in columns of their own, too (:attr:`team_months`).
        """
        return self.given(self.teams, lambda t: _named(t).join(by_month(t["history"], self.month)))

    @property
    def team_months(self) -> tuple[str, ...]:
        """The columns of ``teams_shown`` with the hours (h) of each month."""
        return month_columns(self.month)

    @property
    def teams_total(self) -> dict[str, Any]:
        """The row below the teams."""
        row = total_row(self.measured)
        return row | dict(zip(self.team_months, row["history"], strict=True))

    # Capacity

    @cached_property
    def steps(self) -> pd.DataFrame | None:
        """How many devices were busy, from instant to instant."""
        return self.given(self.timed_sessions, concurrency.busy_steps)

    @cached_property
    def peak(self) -> concurrency.Peak | None:
        return self.given(self.steps, lambda steps: concurrency.peak(steps, self.timezone))

    @cached_property
    def busiest_hour(self) -> substitutes.BusiestHour | None:
        """What stands in for the peak where single events are missing."""
        if self.evidence.events is not None:
            return None
        span = self.two_spans[1]
        return self.given(
            self.evidence.hourly, lambda hourly: substitutes.busiest_hour(hourly, **self.at, span=span)
        )

    @cached_property
    def curve(self) -> pd.DataFrame | None:
        """For how much of the business time at least so many devices were busy."""
        return self.given(self.steps, lambda steps: concurrency.duration_curve(steps, self.spells))

    @cached_property
    def levels(self) -> dict[float, int]:
        """How many devices were enough for 95 % and 99 % of the business time."""
        if self.curve is None:
            return {}
        return {share: concurrency.level(self.curve, share) for share in (0.95, 0.99)}

    def sites(self, column: str) -> pd.DataFrame | None:
        """Devices, hours and business utilisation by ``country`` or ``hostname``."""
        return self.given(
            self.by_place(column), lambda both: sites.by_site(*both, column=column, spells=self.spells)
        )

    @cached_property
    def movable(self) -> contention.Movable | None:
        """What moving automated sessions away from busy minutes would change."""
        return self.given(
            self.demand,
            lambda both: contention.movable_automation(*both, spells=self.spells),
        )

    # People and money

    @cached_property
    def forecast(self) -> Forecast | None:
        """The next month; None of a running one, whose rate is not known before it is over."""
        if self.evidence.partial:
            return None
        return forecast(self.evidence.usage, month=self.month, business=self.business)

    def showback(self, price: float | None, mode: Mode) -> pd.DataFrame | None:
        """What each team used of the lab, and what nobody did; with its part of the ``price``, to the cent."""
        if self.teams is None or not self.roster_size:
            return None
        used = self.teams[self.teams["total_time_hours"] > 0]
        split = showback(
            used,
            price=0 if price is None else f"{price:.2f}",
            roster_size=self.roster_size,
            elapsed_hours=self.elapsed_hours,
            mode=mode,
        )
        return _named(split)

    @property
    def longest_holds(self) -> pd.DataFrame | None:
        """The ten sessions that held a device longest beyond the usual."""
        return self.given(
            self.holds, lambda held: held.sort_values("hold_hours", ascending=False, kind="stable").head(10)
        )

    # Trust and words

    @property
    def sums(self) -> Mapping[str, float | None]:
        evidence = self.evidence
        frames = {
            "users": evidence.users,
            "devices": evidence.devices,
            "hosts": evidence.hosts,
        }
        ways = [self.sum_hours(frame) for frame in (evidence.automated, evidence.manual)]
        known = [hours for hours in ways if hours is not None]
        teams = self.sum_hours(evidence.teams)
        return {
            "teams": None if teams is None else teams + self.left_to(teams, self.no_team_hours),
            **{name: self.sum_hours(frame) for name, frame in frames.items()},
            "countries": self.with_unknown(evidence.countries, "country"),
            "models": self.with_unknown(evidence.models, "device_model"),
            "automated + manual": sum(known) if len(known) == len(ways) else None,
            "hour bins": self.binned_hours,
            "events": self.given(evidence.events, self._event_hours),
        }

    def _event_hours(self, events: pd.DataFrame) -> float:
        first, _ = month_bounds(self.month, self.timezone)
        return hours_inside(events, first.to_pydatetime(), self.until.to_pydatetime())

    @property
    def as_of(self) -> datetime:
        """When the numbers were true, on the clock of the lab."""
        return self.lab.as_of.astimezone(ZoneInfo(self.timezone))

    @property
    def findings(self) -> Findings:
        dormant = None
        if self.idle is not None and self.roster_size is not None:
            count = len(suggestions.dormant_devices(self.idle, notes=self.device_notes))
            dormant = (count, self.roster_size)
        return Findings(
            trust_share=self.trust.red_share,
            leader=self.moved(self.evidence.teams, "team", "team"),
            sold_out=self.sold_out(),
            dormant=dormant,
            partial=self.evidence.partial,
        )

    @property
    def observations(self) -> suggestions.Observations:
        return suggestions.Observations(
            open_hours=self.business_minutes / 60,
            idle=self.idle,
            fleet=self.evidence.fleet,
            notes=self.device_notes,
            right_size=self.sizes,
            holds=self.hold_summary,
            spikes=self.spikes,
            suspects=self.suspects,
            movable=self.movable,
        )


def _named(table: pd.DataFrame) -> pd.DataFrame:
    plain = table["kind"] == "team"
    return table.assign(team=table["team"].where(plain, table["kind"]), muted=~plain)
