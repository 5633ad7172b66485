"""Which devices have no model, from answers that never say it of a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from usagekit.errors import SchemaError

_TOLERANCE_SECONDS = 1.0


def devices_without_model(
    devices: pd.DataFrame, models: pd.DataFrame, *, team_devices: pd.DataFrame, team_models: pd.DataFrame
) -> pd.DataFrame:
    """Name the devices without a model, which no route of the API does.

    Every device with a session is in the API's roster, and a device without a model is in no row of
    /v1/usage/devicemodel. So the hours by device exceed those by model, for the whole lab and in each team.
    A device must be unknown when the gap cannot be filled without it, and cannot be when it has more
    hours than a gap; what is left open by this is said to be open and never guessed.

    Parameters
    ----------
    devices, models, team_devices, team_models
        the answers by device, devicemodel, team/device and team/devicemodel for the same period;
        ``total_time_hours`` (h). Devices without time in it are not judged.

    Returns
    -------
    ``device_address`` and ``seconds`` (s). A last row without a device holds the time of unknown devices
    that cannot be told apart, in ``candidates`` their addresses (a tuple, else empty).

    Raises
    ------
    SchemaError : a column is missing.
    """
    frames = {"device_address": (devices, team_devices), "device_model": (models, team_models)}
    for column, answers in frames.items():
        for missing in ({column, "total_time_hours"} - set(answer) for answer in answers):
            if missing:
                raise SchemaError(f"an answer lacks {', '.join(sorted(missing))}", missing=sorted(missing))
    of_device = devices.groupby("device_address")["total_time_hours"].sum()
    of_pair = team_devices.groupby(["device_address", "team"])["total_time_hours"].sum().unstack(fill_value=0)
    of_pair = of_pair.reindex(of_device.index, fill_value=0)
    of_model = team_models[team_models["device_model"].notna()].groupby("team")["total_time_hours"].sum()
    modelled = models.loc[models["device_model"].notna(), "total_time_hours"].sum()
    seconds = 3600 * np.column_stack([of_device.to_numpy(), of_pair.to_numpy()])
    model_seconds = 3600 * np.array([modelled, *of_model.reindex(of_pair.columns, fill_value=0)])
    named, candidates, rest = _forced(seconds, seconds.sum(axis=0) - model_seconds)
    names = of_device.index.to_numpy(dtype=object)
    rows: list[tuple[str | None, float, tuple[str, ...]]] = [
        (name, float(s), ()) for name, s in zip(names[named], seconds[named, 0], strict=True)
    ]
    if rest > _TOLERANCE_SECONDS:
        rows.append((None, rest, tuple(names[candidates])))
    return pd.DataFrame(rows, columns=["device_address", "seconds", "candidates"])


def _forced(seconds: Any, gap: Any) -> tuple[Any, Any, float]:
    """Which devices (rows) make up the gap of the lab and of each team (columns), which may, and what is left."""
    named = np.zeros(len(seconds), dtype=bool)
    while True:
        rest = gap - seconds[named].sum(axis=0)
        fits = (seconds[:, 0] > _TOLERANCE_SECONDS) & (seconds <= rest + _TOLERANCE_SECONDS).all(axis=1)
        candidates = fits & ~named
        without = seconds[candidates].sum(axis=0) - seconds
        new = candidates & (without < rest - _TOLERANCE_SECONDS).any(axis=1)
        if not new.any():
            return named, candidates, float(rest[0])
        named |= new
