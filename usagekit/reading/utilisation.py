"""How much of the lab was used: its devices, and the hours that they could have been."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from usagekit.analysis import capacity, concurrency, substitutes
from usagekit.analysis.history import Values, comparable_history
from usagekit.analysis.kpis import Kpi
from usagekit.analysis.lab_kpis import lab_kpis
from usagekit.analysis.wording import APPROX, AT_MOST
from usagekit.period import shift_month
from usagekit.reading.stand_ins import FROM_EVENTS
from usagekit.reading.upkeep import Upkeep


class Utilisation(Upkeep):
    """The roster, and the parts of its time in which it was used."""

    @property
    def roster_size(self) -> int | None:
        """Number of devices, also those without usage."""
        return self.given(self.evidence.devices, lambda devices: int(devices["device_address"].nunique()))

    @cached_property
    def lab_kpis(self) -> tuple[Kpi, ...]:
        """Devices used, calendar and business utilisation; a substitute has a mark."""
        evidence, months = self.evidence, (shift_month(self.month, -1), self.month)
        counts = comparable_history(evidence.usage, "device_count", month=self.month)[-2:]
        owned: Values = counts if self.roster_size is None else [self.roster_size] * 2
        parts = zip(months, self.two_spans, owned, strict=True)
        shares = {month: self._business_share(month, until, devices=d) for month, (_, until), d in parts}
        found = lab_kpis(
            evidence.usage, shares, **self.at, devices=self.roster_size, partial=evidence.partial
        )
        return tuple(self._told(self.stood_in(kpi)) for kpi in self.with_reasons(found))

    def _business_share(self, month: str, until: pd.Timestamp, *, devices: float | None) -> float | None:
        """Business utilisation of a month up to an instant, by hour bins; by single events where those are missing."""
        hourly, events, zone = self.evidence.hourly, self.evidence.events, self.timezone
        if hourly is not None:
            cut = hourly[pd.to_datetime(hourly["datetime"], utc=True) < until]
            used = capacity.business_hours_used(cut, month=month, timezone=zone, business=self.business)
        elif events is not None:
            spells = concurrency.business_spells(month, zone, self.business, until=until)
            used = substitutes.event_hours_inside(events, spells)
        else:
            return None
        opened = concurrency.business_minutes(month, zone, self.business, until=until) / 60
        return capacity.utilisation(used, devices=devices, available_hours=opened)

    def _told(self, kpi: Kpi) -> Kpi:
        """A utilisation with a mark where it is of the devices used, or by single events."""
        rests = {"calendar": ("devices",), "business": ("devices", "hourly")}.get(kpi.key, ())
        told = {"devices": ("", AT_MOST), "hourly": (FROM_EVENTS, APPROX)}
        for name in rests if kpi.value is not None else ():
            if reason := self.evidence.missing.get(name):
                words, mark = told[name]
                kpi = substitutes.marked(kpi, words, reason=reason, mark=mark)
        return kpi
