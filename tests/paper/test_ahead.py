"""What all reports share is worked out once, before their kernels are forked, and is what each would have found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from tests.paper.test_kernels import printed
from usagekit.openers import open_snapshot
from usagekit.reading import ahead, read_month
from usagekit.report import forker, warm
from usagekit.sample_lab import MONTH, demo_snapshot
from usagekit.snapshot import SnapshotSource, read_part

SUMS = f"""
import pandas as pd, usagekit as uk
from usagekit.reading import ahead
lab = uk.open_snapshot({{snapshot!r}})
said = uk.read_month(lab, {MONTH!r}, team="Payments")
frames = said.named_events, said.all_sessions, said.timed_sessions, said.sizes, said.suspects
print(bool(ahead._ahead), *(pd.util.hash_pandas_object(f.astype("str")).sum() for f in frames), said.finding)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_ahead_or_not_is_the_same() -> None:
    """A forked kernel finds the shared frames, equal to those that a cold one works out; nothing starts cold for it."""
    snapshot = str(demo_snapshot())
    source = SUMS.format(snapshot=snapshot)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", RuntimeWarning
        )  # "kernels start cold from now on": a thread, or a crash
        ready = printed(source, options={"snapshot": snapshot})
    cold = printed(source, options={"snapshot": snapshot, "warm": False})
    assert ready.split(maxsplit=1)[0] == "True"
    assert cold.split(maxsplit=1)[0] == "False"
    assert ready.split(maxsplit=1)[1] == cold.split(maxsplit=1)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
def test_damage_is_told_by_the_kernel(tmp_path: Path) -> None:
    """A snapshot that cannot be read ahead costs no kernel: opening it there says what is wrong, as it always does."""
    warm._close_all()  # or a process that has proved these very parts goes on with them
    broken = tmp_path / "snapshot"
    shutil.copytree(demo_snapshot(), broken)
    (events,) = broken.glob("events.*.parquet")
    events.write_bytes(events.read_bytes()[:-1] + b"x")
    ask = f"import usagekit as uk\nlab = uk.open_snapshot({str(broken)!r})\n"
    ask += (
        f"try: uk.read_month(lab, {MONTH!r})\nexcept Exception as error: print(type(error).__name__, error)"
    )
    assert "StoreError" in printed(ask, options={"snapshot": str(broken)})
    for manifest in ("[]", "{}", "{"):
        (broken / "manifest.json").write_text(manifest)
        assert printed("print(1)", options={"snapshot": str(broken)}) == "1\n"


def test_parts_are_read_as_pandas_reads_them() -> None:
    """Every part and table is the frame that pandas would read, dtype by dtype."""
    source = SnapshotSource(demo_snapshot())
    parts = [*source.parts, *source.tables.values()]
    assert len(parts) > 30
    for part in parts:
        pd.testing.assert_frame_equal(
            read_part(source.directory, part), pd.read_parquet(source.directory / part.file)
        )


def test_working_ahead_starts_no_thread() -> None:
    """A process that has worked ahead has one thread, or no kernel could be forked from it."""
    script = (
        "import os\nfrom usagekit.report import rehearsal, zygote\nfrom usagekit.reading.ahead import work_ahead, _ahead\n"
        "from usagekit.sample_lab import demo_snapshot\n"
        "rehearsal.prepare(); work_ahead(demo_snapshot())\nprint(len(_ahead), zygote.thread_count())"
    )
    demo_snapshot()  # made here: making it takes threads
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "", **forker._ONE_THREAD, **_home()},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["5", "1"]


def test_shared_frames_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changes a shared frame changes it for nobody else."""
    monkeypatch.setattr(ahead, "_ahead", {})
    ahead.work_ahead(demo_snapshot())
    lab = open_snapshot("demo")
    first, second = (read_month(lab, MONTH, team=team) for team in ("Payments", "Growth"))
    first.sizes.loc[:, "owned"] = -1
    assert (second.sizes["owned"] >= 0).all()
    assert (read_month(lab, MONTH).sizes["owned"] >= 0).all()


def _home() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k in ("HOME", "USAGEKIT_CACHE", "XDG_CACHE_HOME")}
