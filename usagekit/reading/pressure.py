"""Devices, sessions and people of a month."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

import pandas as pd

from usagekit.analysis import attribution, capacity, concentration, contention, people, sessions
from usagekit.analysis import false_starts as starts
from usagekit.analysis import holds as held
from usagekit.figures.layout import NOT_FETCHED
from usagekit.reading.ahead import lab_wide
from usagekit.reading.stand_ins import StandIns

_COLUMNS: Final = {
    **dict.fromkeys(("sizes", "twins", "movable", "sold_out_week"), "model"),
    "country": "country",
    "hostname": "host",
}
"""What of the devices a part must know."""


class Pressure(StandIns):
    """How the devices were used, by single sessions, and by whom."""

    @lab_wide
    def named_events(self) -> pd.DataFrame | None:
        """All sessions of the lab in the month and the two before, with a team wherever it is certain."""
        return self.given(
            self.evidence.events, lambda events: attribution.attribute_teams(events, self.evidence.people)
        )

    @lab_wide
    def all_sessions(self) -> pd.DataFrame | None:
        """Those of them that belong to the month, cut at its ends."""
        found = self.given(self.named_events, lambda named: sessions.month_sessions(named, **self.at))
        if found is None or self.evidence.partial is None:
            return found
        cut = found[found["start"] < self.until]
        return cut.assign(end=cut["end"].mask(cut["end"] > self.until, self.until)).reset_index(drop=True)

    @lab_wide
    def timed_sessions(self) -> pd.DataFrame | None:
        """Those of all sessions that take time, and so can keep a device from others."""
        return self.given(self.all_sessions, lambda every: every[every["end"] > every["start"]])

    @property
    def demand(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """These sessions, and the devices there are for them; None where either or every model is missing."""
        return self.by_place("device_model")

    def by_place(self, column: str) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Sessions and devices, None where no device's ``column`` (model, country, host) is known.

        A fleet without a known model has no model that was never sold out: it says nothing of models.
        """
        fleet = self.evidence.fleet
        if self.timed_sessions is None or fleet is None or not self._known(column):
            return None
        return self.timed_sessions, fleet

    def _known(self, column: str) -> bool:
        fleet = self.evidence.fleet
        return fleet is not None and (fleet.empty or bool(fleet[column].notna().any()))

    def why(self, name: str) -> str:
        column = _COLUMNS.get(name, "")
        told = super().why(name)
        return f"no device's {column} is known" if told == NOT_FETCHED and column else told

    @lab_wide
    def sizes(self) -> pd.DataFrame | None:
        """Owned, used and needed devices of each model, and how long it was sold out."""
        return self.given(self.demand, lambda both: capacity.right_size(*both, spells=self.spells))

    @cached_property
    def sold_out_week(self) -> pd.DataFrame | None:
        """Sold-out minutes by weekday and hour."""
        return self.given(
            self.demand,
            lambda both: contention.sold_out_hours(*both, spells=None, until=self.until, **self.at),
        )

    def sold_out(self, models: set[str] | None = None) -> tuple[str, float] | None:
        """The model that was sold out longest in business hours, of ``models`` or of all with two devices or more."""
        if self.sizes is None:
            return None
        sizes = self.sizes[self.sizes["device_model"].notna() & self.sizes["sold_out_minutes"].notna()]
        if models is not None:
            sizes = sizes[sizes["device_model"].isin(models)]
        if sizes.empty:
            return None
        top = sizes.sort_values("sold_out_minutes", ascending=False, kind="stable").iloc[0]
        return str(top["device_model"]), float(top["sold_out_minutes"])

    # Sessions

    @property
    def own_events(self) -> pd.DataFrame | None:
        """The sessions that are certainly of the scope, in the month and the two before."""
        raise NotImplementedError

    @property
    def own_sessions(self) -> pd.DataFrame | None:
        """The sessions of the scope; None where they cannot be told."""
        raise NotImplementedError

    @cached_property
    def lengths(self) -> pd.DataFrame | None:
        return self.given(self.own_sessions, sessions.session_lengths)

    @cached_property
    def mix(self) -> pd.DataFrame | None:
        return self.given(self.own_sessions, sessions.session_mix)

    @cached_property
    def holds(self) -> pd.DataFrame | None:
        """Sessions by hand that held a device for very long or through the night."""
        return self.given(self.own_sessions, lambda own: held.holds(own, **self.at))

    @cached_property
    def hold_summary(self) -> held.Holds | None:
        return self.given(self.own_sessions, lambda own: held.hold_summary(own, **self.at))

    @cached_property
    def spikes(self) -> pd.DataFrame | None:
        """Lengths that suspiciously many sessions share."""
        return self.given(self.own_sessions, held.duration_spikes)

    @cached_property
    def false_starts(self) -> starts.FalseStarts | None:
        return self.given(self.own_sessions, starts.false_starts)

    @lab_wide
    def suspects(self) -> pd.DataFrame | None:
        """Devices that fail to start far more often than the fleet."""
        return self.given(self.all_sessions, starts.suspect_devices)

    # People

    @cached_property
    def flow(self) -> people.UserFlow | None:
        """Where the users come from; who has lapsed only a month that is over can tell."""
        found = people.user_flow(self.evidence.users, month=self.month)
        if found is None or self.evidence.partial is None:
            return found
        emails = {name: users for name, users in found.emails.items() if name != "lapsed"}
        return replace(found, lapsed=None, emails=MappingProxyType(emails))

    @cached_property
    def regulars(self) -> people.Regulars | None:
        """How soon the beginners of the last three months came regularly."""
        return people.weeks_to_regular(self.evidence.users, self.own_events, **self.at)

    @cached_property
    def user_concentration(self) -> concentration.Concentration | None:
        users = self.evidence.users
        return self.given(
            users, lambda u: concentration.concentration(people.hours_by_person(u, month=self.month))
        )

    @cached_property
    def device_concentration(self) -> concentration.Concentration | None:
        now = self.evidence.now(self.evidence.devices)
        return self.given(
            now, lambda d: concentration.concentration(d.set_index("device_address")["total_time_hours"])
        )
