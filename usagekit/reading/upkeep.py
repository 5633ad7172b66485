"""The devices of a lab that are hardly needed: idle, fading, and twins."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from usagekit.analysis import candidates, fading, idle, twins
from usagekit.analysis.months import month_bounds
from usagekit.period import shift_month
from usagekit.reading.reading import Reading
from usagekit.vocabulary import split_device_address


class Upkeep(Reading):
    """What the evidence of a month says of the devices of the whole lab."""

    @cached_property
    def idle(self) -> pd.DataFrame | None:
        """Devices without time in the month, the longest idle first, with model and remark.

        ``idle_for`` and ``last_month`` say in words for how many months and until when, as far as the 13 months
        tell, ``last_used_month`` as ``YYYY-MM``. None of a running month, which is not over for any device.
        """
        if self.evidence.devices is None or self.evidence.partial:
            return None
        found = idle.idle_devices(self.evidence.devices, month=self.month)
        last = found["last_used"].dt.strftime("%Y-%m")
        words = idle.idle_words(found, month=self.month).assign(last_used_month=last)
        return self._described(found.join(words))

    @cached_property
    def fading(self) -> pd.DataFrame | None:
        """Devices whose idle streak just began, and those hardly used any more; None of a running month."""
        if self.evidence.devices is None or self.evidence.partial:
            return None
        return self._described(fading.fading_devices(self.evidence.devices, month=self.month))

    @cached_property
    def candidates(self) -> pd.DataFrame | None:
        """The models as in ``sizes``, with how many devices of each may go, and whether one more is needed."""
        fleet = self.evidence.fleet
        if self.sizes is None or fleet is None:
            return None
        return candidates.candidates(self.sizes, self.idle, fleet=fleet, notes=self.device_notes)

    @cached_property
    def twins(self) -> pd.DataFrame | None:
        """Pairs of one model on one host that were never busy at once in the month and the two before."""
        if self.evidence.events is None or self.evidence.fleet is None or self.demand is None:
            return None
        start, _ = month_bounds(shift_month(self.month, -2), self.timezone)
        _, end = month_bounds(self.month, self.timezone)
        return twins.surplus_twins(self.evidence.events, self.evidence.fleet, start=start, end=end)

    @cached_property
    def device_notes(self) -> dict[str, str]:
        """Remarks by device address; a remark on a device id holds for it on every host."""
        devices = self.evidence.devices
        addresses: list[str] = [] if devices is None else devices["device_address"].unique().tolist()
        notes = self.evidence.notes
        by_id = {address: notes.get(split_device_address(address)[0], "") for address in addresses}
        return {address: note for address, note in (by_id | notes).items() if note}

    def _described(self, found: pd.DataFrame) -> pd.DataFrame:
        fleet = self.evidence.fleet
        models = {} if fleet is None else fleet.set_index("device_address")["device_model"].to_dict()
        address, notes = found["device_address"], self.device_notes
        return found.assign(
            device_model=address.map(models).astype("str"),
            note=address.map(lambda device: notes.get(device, "")).astype("str"),
        )
