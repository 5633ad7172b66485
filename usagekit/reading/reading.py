"""The reading of a month: every number that a report shows, computed from its evidence.

Each is computed once, when it is first asked for. What rests on evidence that is missing is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isnan
from typing import Final

import pandas as pd

from usagekit.analysis import reconcile, suggestions
from usagekit.analysis.crossing import crossing_sessions, hours_by_mean
from usagekit.analysis.finding import Findings, finding
from usagekit.reading.doubts import Doubts

_BY_MEAN: Final = "sessions × mean length"


class Reading(Doubts):
    """What the evidence of a month says, of a team or of the whole lab.

    Public attributes are frames and values of :mod:`usagekit.analysis`; the docstrings there give columns and units.
    """

    @property
    def sums(self) -> Mapping[str, float | None]:
        """The hours (h) of the month added up in other ways, by name."""
        raise NotImplementedError

    @cached_property
    def reconciliation(self) -> pd.DataFrame:
        by_mean, reason = self._mean_hours
        parts = {**self.sums, _BY_MEAN: by_mean}
        reasons = self.evidence.missing | {_BY_MEAN: reason}
        return reconcile.reconcile(
            self.hours, parts, month=self.month, reasons=reasons, at_most_amber=[_BY_MEAN]
        )

    @property
    def _mean_hours(self) -> tuple[float | None, str]:
        """Hours (h) by the number of sessions and their mean length, or why they cannot be had."""
        now, reasons = self.evidence.now(self.evidence.usage), self.evidence.missing
        lost = [name for name in ("session_count", "avg_session_length", "events") if name in reasons]
        if now is None or lost or self.all_sessions is None:
            return None, reasons[lost[0]] if lost else reconcile.NOT_ASKED
        if now.empty:
            return 0.0, ""
        count, mean = float(now["session_count"].iloc[0]), float(now["avg_session_minutes"].iloc[0])
        if isnan(count) or isnan(mean):
            return None, "no session begins in the month"
        crossing = crossing_sessions(self.all_sessions)
        certain, possible = self.of_scope(crossing)
        either = certain | possible
        found = hours_by_mean(
            count, mean, crossing=crossing[either], certain=certain[either], total_hours=self.hours
        )
        return found, ""

    def of_scope(self, sessions: pd.DataFrame) -> tuple[pd.Series[bool], pd.Series[bool]]:
        """Which sessions are certainly, and which are possibly of the scope."""
        every = pd.Series(True, index=sessions.index)
        return every, ~every

    @cached_property
    def trust(self) -> reconcile.Reconciled:
        return reconcile.worst(self.reconciliation)

    @cached_property
    def restatement(self) -> str | None:
        """What became of the month before since its own reports, in words; of a team what became of its own hours."""
        found = self.evidence.restated
        if found is None:
            return None
        if self.team is None or "teams" not in found:
            told = reconcile.restatement(found["before_hours"], found["after_hours"], month=found["month"])
            return told and (told if self.team is None else f"Whole lab: {told}")
        before, after = found["teams"].get(self.team, (0.0, 0.0))
        return reconcile.restatement(before, after, month=found["month"])

    @cached_property
    def finding(self) -> str:
        """The month in one sentence."""
        return finding(self.measured, month=self.month, evidence=self.findings)

    @property
    def findings(self) -> Findings:
        raise NotImplementedError

    @property
    def observations(self) -> suggestions.Observations:
        raise NotImplementedError

    @cached_property
    def suggestions(self) -> tuple[suggestions.Suggestion, ...]:
        """At most three things to do, most hours first."""
        return suggestions.suggestions(self.observations)
