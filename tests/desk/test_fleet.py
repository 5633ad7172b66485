"""The fleet: model and country of every device, told from hours in few requests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from usagekit.analysis.fleet import infer_wholes
from usagekit.fleet import ask_fleet
from usagekit.lab import Lab
from usagekit.query import UsageQuery

YEAR = UsageQuery(start=date(2022, 3, 1), end=date(2023, 3, 31), timezone="Europe/Berlin")


def test_every_model_and_country_of_the_sample(remote: Lab, sample_store: Path) -> None:
    """What the hours tell is what the store's own tables say, in far fewer requests than devices."""
    devices = remote.devices.names
    fleet, requests = ask_fleet(remote.source, YEAR, devices)
    owned = pd.read_parquet(sample_store / "devices.parquet")
    owned["device_address"] = owned["device_id"] + "@" + owned["hostname"]
    true = owned.merge(pd.read_parquet(sample_store / "hosts.parquet"), on="hostname")
    both = fleet.merge(true, on="device_address", suffixes=("", "_true"))
    assert len(fleet) == len(devices) == len(both) > 100
    assert (both["device_model"] == both["model"]).all()
    assert (both["country"] == both["country_true"]).all()
    assert requests < len(devices) / 2


def test_known_devices_are_not_asked_about_again(remote: Lab) -> None:
    """With the fleet of an earlier month only new devices cost requests."""
    devices = remote.devices.names
    fleet, _ = ask_fleet(remote.source, YEAR, devices)
    again, requests = ask_fleet(remote.source, YEAR, devices, known=fleet)
    assert requests == 0
    pd.testing.assert_frame_equal(again, fleet)
    _, one = ask_fleet(remote.source, YEAR, devices, known=fleet.iloc[1:])
    assert 1 <= one <= 3


def test_a_device_that_nobody_knows_has_no_model(remote: Lab) -> None:
    """A device without a model stays without one; nothing is guessed."""
    fleet, _ = ask_fleet(remote.source, YEAR, ["never-seen@nowhere.example.com"])
    assert fleet["device_model"].isna().all()
    assert fleet["country"].isna().all()


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, str | None], list[dict[str, float]]]:
    devices = [f"d{i}" for i in range(draw(st.integers(1, 8)))]
    models = {d: draw(st.sampled_from(["x", "y", "z", None])) for d in devices}
    hours = st.integers(0, 86_400).map(lambda seconds: seconds / 3600)
    days = draw(st.lists(st.fixed_dictionaries(dict.fromkeys(devices, hours)), min_size=1, max_size=12))
    return models, days


@given(worlds())
@settings(max_examples=300, deadline=None)
def test_what_is_certain_is_true(world: tuple[dict[str, str | None], list[dict[str, float]]]) -> None:
    """Whatever the hours are, no device is ever given a model that is not its own."""
    models, days = world
    rows = [(pd.Timestamp(2023, 1, 1 + i), d, h) for i, day in enumerate(days) for d, h in day.items() if h]
    parts = pd.DataFrame(rows, columns=["datetime", "device", "total_time_hours"])
    wholes = parts.assign(model=parts["device"].map(models)).dropna(subset="model")
    found = infer_wholes(parts, wholes, part="device", whole="model")
    told = dict(zip(found["device"], found["model"], strict=True))
    assert all(models[device] == model for device, model in told.items())


def test_devices_that_cannot_be_told_apart_are_left_open() -> None:
    """Two devices used only on the same day, half by half, may each be either model."""
    day = pd.Timestamp("2023-03-01")
    parts = pd.DataFrame({"datetime": [day, day], "device": ["a", "b"], "total_time_hours": [2.0, 2.0]})
    wholes = pd.DataFrame({"datetime": [day, day], "model": ["x", "y"], "total_time_hours": [2.0, 2.0]})
    assert infer_wholes(parts, wholes, part="device", whole="model").empty
