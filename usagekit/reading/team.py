"""The reading of a team's month."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import pandas as pd

from usagekit.analysis import attribution, fading, suggestions
from usagekit.analysis.finding import Findings
from usagekit.analysis.people import is_person
from usagekit.analysis.trust import eras
from usagekit.period import parse_month
from usagekit.reading.reading import Reading

MODEL_SHARE: Final = 0.10
"""From this share of a team's hours on a model counts for it."""


class TeamReading(Reading):
    """What the evidence of a month says of one team."""

    @cached_property
    def team_sessions(self) -> attribution.TeamSessions | None:
        """The team's sessions, as far as they can be told, and their share of its hours by hand."""
        if self.all_sessions is None or self.evidence.automated is None:
            return None
        manual = self.hours - (self.sum_hours(self.evidence.automated) or 0.0)
        return attribution.team_sessions(self.all_sessions, team=str(self.team), manual_hours=manual)

    @property
    def own_events(self) -> pd.DataFrame | None:
        # Use for another team makes nobody regular in this one.
        return self.given(
            self.named_events, lambda named: named[(named["team"] == self.team).to_numpy(dtype=bool)]
        )

    @property
    def own_sessions(self) -> pd.DataFrame | None:
        return None if self.team_sessions is None else self.team_sessions.sessions

    @property
    def sessions_missing(self) -> str:
        """Why nothing is said about the lengths of sessions; empty where something is."""
        if self.own_sessions is not None:
            return ""
        if self.team_sessions is None:
            missing = self.evidence.missing
            return missing.get("events") or missing.get("automated") or "single sessions could not be fetched"
        share = self.team_sessions.coverage
        if share is None:
            return "no sessions by hand, whose teams could be told"
        return (
            f"sessions by hand name no team: those of people in this team alone are {share:.0%} of its hours by hand, "
            "and below 80% or above 120% they say too little"
        )

    @cached_property
    def fading(self) -> pd.DataFrame | None:
        """Devices that the team used in the months before and hardly or not at all in this one.

        None of a running month, whose days cannot be held against whole months.
        """
        if self.evidence.partial:
            return None
        return self.given(self.evidence.devices, lambda d: fading.fading_devices(d, month=self.month))

    @cached_property
    def main_models(self) -> set[str]:
        """The models with a tenth of the team's hours or more: only these matter to it when they are sold out."""
        now = self.evidence.now(self.evidence.models)
        if now is None or not self.hours:
            return set()
        return set(now.loc[now["total_time_hours"] >= MODEL_SHARE * self.hours, "device_model"])

    @property
    def own_suspects(self) -> pd.DataFrame | None:
        """The suspect ones of the team's ten largest devices: another's trouble is told to the lab."""
        suspects, top = self.suspects, self.top_devices
        devices = set() if top is None else set(top["device_address"])
        return None if suspects is None else suspects[suspects["device_address"].isin(devices)]

    @property
    def sums(self) -> Mapping[str, float | None]:
        evidence = self.evidence
        frames = {"devices": evidence.devices}
        if eras(parse_month(self.month))[0][0] == "current":  # before it a session had a team or a user
            frames["users"] = evidence.users
        return {
            **{name: self.sum_hours(frame) for name, frame in frames.items()},
            "models": self.with_unknown(evidence.models, "device_model"),
            "hour bins": self.binned_hours,
        }

    def of_scope(self, sessions: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
        """Which sessions are certainly the team's, and which may be: by hand, of somebody in several teams or unknown."""
        certain = pd.Series((sessions["team"] == self.team).to_numpy(dtype=bool), index=sessions.index)
        known, email = self.evidence.people, sessions["email"]
        possible = sessions["team"].isna() & ~sessions["automated"].astype(bool)
        if known is not None:
            own = set(known.loc[known["team"] == self.team, "email"])
            possible &= email.isin(own) | ~is_person(email)
        return certain, possible

    @property
    def findings(self) -> Findings:
        devices = self.evidence.devices
        idle = 0 if self.fading is None else int((self.fading["state"] == "idle").sum())
        used = 0 if (now := self.evidence.now(devices)) is None else len(now)
        return Findings(
            trust_share=self.trust.red_share,
            # The devices of the month before are known for all of it only.
            leader="" if self.evidence.partial else self.moved(devices, "device_address", "device"),
            sold_out=self.sold_out(self.main_models),
            whole_lab=True,
            dormant=(idle, used + idle),
            partial=self.evidence.partial,
        )

    @property
    def observations(self) -> suggestions.Observations:
        sizes = self.sizes
        return suggestions.Observations(
            open_hours=self.business_minutes / 60,
            whole_lab=True,
            right_size=None if sizes is None else sizes[sizes["device_model"].isin(self.main_models)],
            holds=self.hold_summary,
            spikes=self.spikes,
            suspects=self.own_suspects,
        )
