"""Of which models a lab has devices to give back, and of which it needs one more."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from usagekit.analysis.suggestions import dormant_devices, scarce


def candidates(
    sizes: pd.DataFrame, idle: pd.DataFrame | None, *, fleet: pd.DataFrame, notes: Mapping[str, str]
) -> pd.DataFrame:
    """The models with their candidates: by the rules of the suggestions, of every model and not only of the first.

    Parameters
    ----------
    sizes, idle
        what :func:`usagekit.analysis.capacity.right_size` and :func:`usagekit.analysis.idle.idle_devices` return;
        ``idle`` is None where it is not known.
    fleet
        a row a known device; ``device_address``, ``device_model``.
    notes
        remarks by device address; a device with one is no candidate.

    Returns
    -------
    ``sizes`` with ``retire``, devices without time in the month and the two before (missing without ``idle``), and
    ``add``, 1 for a model that was sold out in 2 % of the business time or more with ten hand-offs or more.

    >>> sizes = pd.DataFrame({"device_model": ["Pixel 8", "iPad"], "sold_out_share": [0.0, 0.03], "handoffs": [0, 12]})
    >>> idle = pd.DataFrame({"device_address": ["1@a", "2@a"], "idle_months": [4, 2]})
    >>> fleet = pd.DataFrame({"device_address": ["1@a", "2@a", "3@a"], "device_model": ["Pixel 8", "Pixel 8", "iPad"]})
    >>> candidates(sizes, idle, fleet=fleet, notes={})[["device_model", "retire", "add"]].values.tolist()
    [['Pixel 8', 1, 0], ['iPad', 0, 1]]
    """
    found = sizes.assign(retire=float("nan"), add=scarce(sizes).astype("int64"))
    if idle is not None:
        models = fleet.drop_duplicates("device_address").set_index("device_address")["device_model"]
        counts = models.reindex(dormant_devices(idle, notes=notes)).fillna("").value_counts()
        found["retire"] = found["device_model"].fillna("").map(counts).fillna(0)
    return found.astype({"retire": "Int64", "add": "Int64"})
