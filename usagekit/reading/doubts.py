"""What of a month cannot be placed: time without model, country or team, and sessions that count nowhere."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import pandas as pd

from usagekit.analysis.months import month_bounds
from usagekit.analysis.sessions import seconds_between
from usagekit.analysis.trust import eras
from usagekit.period import parse_month
from usagekit.reading.pressure import Pressure

_ROUNDING_HOURS: Final = 1e-6


class Doubts(Pressure):
    """What single sessions and the fleet say of the time that a sum leaves out."""

    def with_unknown(self, frame: pd.DataFrame | None, column: str) -> float | None:
        """Hours (h) of the month by model or country, and those of devices of which it is not known."""
        known = self.sum_hours(frame)
        return None if known is None else known + self._left_out(known, column)

    def unknown_hours(self, frame: pd.DataFrame | None, column: str) -> float:
        """Hours (h) of devices whose model or country is not known, as far as the sum of ``frame`` lacks them."""
        known = self.sum_hours(frame)
        return 0.0 if known is None else self._left_out(known, column)

    def _left_out(self, known: float, column: str) -> float:
        devices, fleet = self.evidence.now(self.evidence.devices), self.evidence.fleet
        if devices is None or fleet is None:
            return 0.0
        placed = set(fleet.loc[fleet[column].notna(), "device_address"])
        unknown = float(devices.loc[~devices["device_address"].isin(placed), "total_time_hours"].sum())
        return self.left_to(known, unknown)

    def left_to(self, known: float, unknown: float) -> float:
        """How much of the ``unknown`` hours (h) a sum lacks: whatever else is amiss must stay a difference."""
        part = min(max(self.hours - known, 0.0), unknown)
        return part if part > _ROUNDING_HOURS else 0.0

    @cached_property
    def no_team_hours(self) -> float:
        """Hours (h) of automated sessions of the month that have no team; those by hand never say it.

        None of it is told before September 2022, when sessions had a team or a user.
        """
        every = self.all_sessions
        if every is None or eras(parse_month(self.month))[0][0] == "legacy":
            return 0.0
        none = every[every["automated"].astype(bool) & every["team"].isna()]
        return float(seconds_between(none["start"], none["end"]).sum() / 3600)

    @cached_property
    def placed_share(self) -> float | None:
        """Share (0 to 1) of the hours by hand that are of people of one team, so that their team is known."""
        if self.all_sessions is None:
            return None
        manual = self.all_sessions[~self.all_sessions["automated"].astype(bool)]
        hours = seconds_between(manual["start"], manual["end"])
        return float(hours[manual["team"].notna()].sum() / hours.sum()) if hours.sum() else None

    @cached_property
    def uncounted(self) -> tuple[int, int]:
        """How many sessions of the month have no end (or no start), and how many end before they start."""
        events = self.evidence.events
        if events is None:
            return 0, 0
        first, _ = month_bounds(self.month, self.timezone)
        at = events["start_time"].fillna(events["end_time"])
        own = events[((at >= first) & (at < self.until)).to_numpy(dtype=bool)]
        missing = own["end_time"].isna() | own["start_time"].isna()
        return int(missing.sum()), int((own["end_time"] < own["start_time"]).sum())
