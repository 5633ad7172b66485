"""The figures of a month, with what stands in for those whose route was refused."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Final

from usagekit.analysis import substitutes
from usagekit.analysis.changes import small_bases
from usagekit.analysis.history import Values, comparable_history, has_year
from usagekit.analysis.kpis import Kpi, compared, ratio
from usagekit.analysis.substitutes import Substitute
from usagekit.analysis.trust import eras
from usagekit.analysis.wording import APPROX, AT_LEAST
from usagekit.period import parse_month
from usagekit.reading.basis import Basis

FROM_EVENTS: Final = "from single events"


class StandIns(Basis):
    """The figures that a page shows. Rules rest on ``measured``, which has the real ones only."""

    @cached_property
    def kpis(self) -> tuple[Kpi, ...]:
        """Device hours, active users, sessions, mean session and automation share; a substitute has a mark."""
        return tuple(map(self.stood_in, self.measured))

    def stood_in(self, kpi: Kpi) -> Kpi:
        """The figure, or its substitute where the API refused what it rests on and another answer tells it."""
        reason = self.refused(kpi.key)
        found = self._substitute(kpi.key) if kpi.value is None and reason and kpi.reason == reason else None
        if found is None:
            return kpi
        year = has_year(self.month, self.evidence.partial)
        return substitutes.stand_in(kpi, found, reason=reason, small=self._small, year=year)

    def _substitute(self, key: str) -> Substitute | None:
        usage, devices = self.evidence.usage, self.evidence.devices
        if key == "sessions":
            return self._sessions
        if key == "users":
            return self._of_lab(substitutes.event_people, "people by hand in single events", AT_LEAST)
        if key == "mean_session":
            means = comparable_history(usage, "avg_session_minutes", month=self.month)
            return Substitute(compared(means, self.evidence.partial), "the API's own mean", APPROX)
        if key == "automation":
            return self._automation
        if key == "devices" and devices is not None:
            used = substitutes.used_devices(devices, month=self.month)
            # Of a running month, the devices of the month before are known for all of it only.
            known: Values = used if self.evidence.partial is None else [*[None] * 12, used[-1]]
            return Substitute(known, "exact, counted by device")
        return None

    @cached_property
    def _sessions(self) -> Substitute | None:
        return self._of_lab(substitutes.event_sessions, FROM_EVENTS, APPROX)

    @cached_property
    def _automation(self) -> Substitute | None:
        events, hours = self.evidence.events, list(self.measured[0].history)
        if events is None or eras(parse_month(self.month))[0][0] == "legacy":
            return None
        count = partial(substitutes.event_automated_hours, team=self.team)
        runs = substitutes.by_events(count, events, self.two_spans, hours=hours)
        return Substitute([ratio(a, h) for a, h in zip(runs, hours, strict=True)], FROM_EVENTS, APPROX)

    def _of_lab(self, count: substitutes.Count, words: str, mark: str) -> Substitute | None:
        """By the events of the lab; those of a team are not known, for sessions by hand name none."""
        events = self.evidence.events
        if events is None or self.team is not None:
            return None
        hours = list(self.measured[0].history)
        values = substitutes.by_events(count, events, self.two_spans, hours=hours)
        return Substitute(values, words, mark)

    @property
    def _small(self) -> tuple[bool, bool]:
        hours, _, sessions, *_ = self.measured
        known = self._sessions if sessions.value is None else None
        return small_bases(list(hours.history), known.values if known else list(sessions.history))
