"""The hosts and devices of the sample lab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from usagekit.engine.sample.dice import MONTH_OF_PERIOD, PERIODS, Dice, Floats, Ints
from usagekit.engine.sample.people import Team
from usagekit.engine.tables import DIMENSION_SCHEMAS

ZONES: Final = {
    "us-sf": "America/Los_Angeles",
    "us-ny": "America/New_York",
    "de-be": "Europe/Berlin",
    "gb-ld": "Europe/London",
    "in-bl": "Asia/Kolkata",
    "jp-tk": "Asia/Tokyo",
}
"""The sites and their time zones. The country is the front of the name."""

_HOST_SITES: Final = ("us-sf", "de-be", "us-ny", "gb-ld", "in-bl", "jp-tk", "us-sf", "de-be")
_HOST_SHARES: Final = (30, 26, 20, 20, 19, 14, 18, 13)

# model, os, form factor, how many of 100 devices, popularity of each, first month in the lab
_MODELS: Final = (
    ("Pixel 7", "Android", "phone", 7, 2.2, 9),
    ("Pixel 6", "Android", "phone", 7, 1.3, 0),
    ("Galaxy S22", "Android", "phone", 9, 2.0, 1),
    ("Galaxy S21", "Android", "phone", 6, 1.0, 0),
    ("Galaxy A52", "Android", "phone", 6, 0.9, 0),
    ("Galaxy Z Flip3", "Android", "phone", 2, 0.8, 0),
    ("OnePlus 9", "Android", "phone", 3, 0.4, 0),
    ("Redmi Note 11", "Android", "phone", 4, 0.7, 0),
    ("Moto G Power", "Android", "phone", 3, 0.3, 0),
    ("iPhone 14", "iOS", "phone", 8, 2.4, 8),
    ("iPhone 14 Pro", "iOS", "phone", 4, 1.8, 8),
    ("iPhone 13", "iOS", "phone", 9, 1.9, 0),
    ("iPhone 12", "iOS", "phone", 6, 1.0, 0),
    ("iPhone SE (2nd gen)", "iOS", "phone", 4, 0.7, 0),
    ("iPad (9th gen)", "iOS", "tablet", 4, 0.9, 0),
    ("iPad Pro 11", "iOS", "tablet", 2, 6.0, 0),
    ("Galaxy Tab S7", "Android", "tablet", 3, 0.6, 0),
    ("Fire TV Stick 4K", "other", "tv", 4, 1.1, 0),
    ("Apple TV 4K", "other", "tv", 3, 1.0, 0),
    ("Bravia X80K", "Android", "tv", 2, 0.7, 0),
    ("Roku Ultra", "other", "tv", 2, 0.6, 0),
    ("Echo Show 8", "other", "other", 2, 0.2, 0),
)
_STUCK_MODEL: Final = "Galaxy A52"

# Rows of single devices, and of every twentieth device from there on.
_MOVED: Final = 2
_FLAKY: Final = 4
_IDLE: Final = 7
_NEVER_USED: Final = 13


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet as tables and, for drawing sessions, as numbers; arrays follow the rows of ``devices``.

    ``appeal`` is periods x devices, 0 where a device is not in use; ``flaky`` is the row of the device whose sessions
    often break off at once.
    """

    hosts: pl.DataFrame
    devices: pl.DataFrame
    sites: tuple[str, ...]
    appeal: Floats
    stuck: Ints
    flaky: int

    def weights(self, team: Team) -> Floats:
        """How likely the team takes each device in each period (periods x devices)."""
        forms = {"phone": 1.0, "tablet": 0.8, "tv": 0.1, "other": 0.2} | dict(team.forms or {})
        liking = np.array([team.sites.get(site, 0.03) for site in self.sites])
        weights: Floats = self.appeal * liking * np.array([forms[f] for f in self.devices["form_factor"]])
        return weights


def draw_fleet(dice: Dice, *, size: float) -> Fleet:
    """A fleet ``size`` times as large as that of twelve teams: 160 devices on 8 hosts."""
    number_of_devices, number_of_hosts = max(24, round(160 * size)), max(8, round(8 * size))
    hosts = _hosts(number_of_hosts)
    shares = np.cumsum(np.resize(_HOST_SHARES, number_of_hosts))
    device = np.arange(number_of_devices)
    host = np.searchsorted(shares, (device + 0.5) * (shares[-1] / number_of_devices), side="right")
    # Steps of the golden ratio spread every model over all hosts, in its share, whatever the number of devices.
    owned = np.cumsum([m[3] for m in _MODELS])
    model = np.searchsorted(owned, (device * 0.6180339887498949 + 0.05) % 1 * owned[-1], side="right")

    ids = [_device_id(_MODELS[m], dice) for m in model.tolist()]
    ids[0], ids[5] = "00123", "192.168.20.31:5555"
    rows = [
        (i, hosts[h], *_MODELS[m][:3]) for i, h, m in zip(ids, host.tolist(), model.tolist(), strict=True)
    ]
    rows.append((rows[_MOVED][0], hosts[1], *rows[_MOVED][2:]))

    appeal = _appeal(model, device, dice)
    names = [r[2] for r in rows]
    return Fleet(
        hosts=pl.DataFrame(
            [(h, h.split("-")[1].upper()) for h in hosts], schema=DIMENSION_SCHEMAS["hosts"], orient="row"
        ),
        devices=pl.DataFrame(rows, schema=DIMENSION_SCHEMAS["devices"], orient="row"),
        sites=tuple(r[1].removeprefix("lab-").rsplit("-", 1)[0] for r in rows),
        appeal=appeal,
        stuck=np.flatnonzero(np.array(names) == _STUCK_MODEL),
        flaky=_FLAKY,
    )


def _hosts(count: int) -> list[str]:
    names: list[str] = []
    for k in range(count):
        site = _HOST_SITES[k % len(_HOST_SITES)]
        number = 1 + sum(n.startswith(f"lab-{site}-") for n in names)
        names.append(f"lab-{site}-{number}.example.com")
    return names


def _appeal(model: Ints, device: Ints, dice: Dice) -> Floats:
    """Popularity by period and device; the last column is the second address of the device that moves."""
    popularity = np.array([m[4] for m in _MODELS])[model] * dice.spread(0.7, count=len(device))
    popularity[[_MOVED, _FLAKY]] = 4.0
    arrived = np.array([m[5] for m in _MODELS])[model]
    last = np.where(device % 20 == _IDLE, 8 + device // 20 % 6, PERIODS)
    popularity[device % 20 == _NEVER_USED] = 0.0
    months = MONTH_OF_PERIOD[:, None]
    appeal: Floats = popularity * ((months >= arrived) & (months <= last))
    second = np.zeros((PERIODS, 1))
    second[-1] = appeal[-1, _MOVED]
    appeal[-2:, _MOVED] = 0.0
    return np.hstack([appeal, second])


def _device_id(model: tuple[str, str, str, int, float, int], dice: Dice) -> str:
    """An id of the shape that the maker gives: hexadecimal for Apple's phones, serial numbers for the others."""
    name, os, form = model[:3]
    digits = "0123456789ABCDEF" if os == "iOS" else "0123456789ABCDEFGHJKLMNPRSTVWXYZ"
    text = "".join(digits[d] for d in dice.whole(0, len(digits) - 1, count=16).tolist())
    if os == "iOS":
        return f"000081{'10' if form == 'phone' else '03'}-{text}"
    if name.startswith("Galaxy"):
        return f"R5C{text[:8]}"
    if name.startswith("Pixel"):
        return f"{name[6]}A{text[:12]}"
    return text[:10].lower() if form == "phone" else f"G0{text[:14]}"
