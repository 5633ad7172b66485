"""The fleet: which model each device is and which country it is in.

No route says so. :func:`usagekit.analysis.fleet.infer_wholes` finds nearly all of it from four requests; the
devices that it leaves open cost one request each. What is known once need not be asked for again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from usagekit.errors import ApiStatusError
from usagekit.query import UsageQuery
from usagekit.vocabulary import split_device_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from usagekit.sources import Source

COLUMNS: Final = ("device_address", "device_model", "hostname", "country")

_AT_ONCE = 100
"""Devices asked about together: their addresses must fit into one URL of 8 kB."""


def ask_fleet(
    source: Source, query: UsageQuery, devices: Sequence[str], *, known: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, int]:
    """Tell model, host and country of devices from what the API says about hours.

    Parameters
    ----------
    source
        who answers.
    query
        its dates and time zone are those of the hours that tell the devices apart; the longer, the better.
    devices
        addresses, ``device_id@hostname``.
    known
        the answer of an earlier time; its devices are not asked about again.

    Returns
    -------
    A row a device: ``device_address``, ``device_model``, ``hostname``, ``country``, missing where nobody knows;
    and how many requests it took.

    Raises
    ------
    ApiError : the API did not answer.
    """
    import pandas as pd

    old = known if known is not None else pd.DataFrame({c: pd.Series(dtype="str") for c in COLUMNS})
    models = _Known("device_address", "device_model", old)
    countries = _Known("hostname", "country", old)
    models.ask(source, replace(query, by="device"), replace(query, by="devicemodel"), devices)
    hosts = sorted({split_device_address(d)[1] for d in devices})
    countries.ask(source, replace(query, by="host"), replace(query, by="country"), hosts)
    frame = pd.DataFrame({"device_address": pd.Series(sorted(devices), dtype="str")})
    frame["device_model"] = frame["device_address"].map(models.found).astype("str")
    frame["hostname"] = frame["device_address"].map(lambda d: split_device_address(d)[1]).astype("str")
    frame["country"] = frame["hostname"].map(countries.found).astype("str")
    return frame, models.requests + countries.requests


class _Known:
    """What each part (device, host) belongs to (model, country), as far as it is found."""

    def __init__(self, part: str, whole: str, old: pd.DataFrame) -> None:
        self.part, self.whole, self.requests = part, whole, 0
        told = old.dropna(subset=[part, whole])
        self.found: dict[str, str] = dict(zip(told[part], told[whole], strict=True))

    def ask(self, source: Source, parts: UsageQuery, wholes: UsageQuery, names: Sequence[str]) -> None:
        """Ask about the ``names`` that are not known yet; those of a route that is denied stay unknown."""
        try:
            self._ask(source, parts, wholes, sorted(set(names) - set(self.found)))
        except ApiStatusError as error:
            if error.concerns_all:
                raise

    def _ask(self, source: Source, parts: UsageQuery, wholes: UsageQuery, wanted: Sequence[str]) -> None:
        from usagekit.analysis.fleet import infer_wholes

        def asked(query: UsageQuery) -> pd.DataFrame:
            self.requests += 1
            return source.usage(replace(query, metric="total_time"))

        key = self.part
        for first in range(0, len(wanted), _AT_ONCE):
            some = (key, tuple(wanted[first : first + _AT_ONCE]))
            by_part, by_whole = (asked(replace(q, bin_size="day", filters=(some,))) for q in (parts, wholes))
            certain = infer_wholes(by_part, by_whole, part=self.part, whole=self.whole)
            self.found |= dict(zip(certain[self.part], certain[self.whole], strict=True))
        for name in wanted:
            if name not in self.found:
                alone = replace(wholes, bin_size="month", display_all=True, filters=((key, (name,)),))
                told = asked(alone)[self.whole].dropna().unique()
                if len(told) == 1:
                    self.found[name] = told[0]
