"""Remarks on devices: a plain YAML file, refused with its line when it is more than that."""

from __future__ import annotations

from pathlib import Path

import pytest

from usagekit.device_notes import read_notes
from usagekit.errors import SettingsError


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "notes.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_notes_are_read(tmp_path: Path) -> None:
    """Device addresses and remarks are text, whatever they look like."""
    path = _file(tmp_path, '# fleet\n"00123@h1": maintenance\n"NA": "dedicated to R&D / Café"\n')
    assert read_notes(path) == {"00123@h1": "maintenance", "NA": "dedicated to R&D / Café"}
    assert read_notes(_file(tmp_path, "")) == {}


@pytest.mark.promise(10)
@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", "line 1.*tags"),
        ("a: &x b\nc: *x\n", "line 2.*references"),
        ("a: b\n  c: [\n", "line 2"),
        ("- a\n- b\n", "must hold lines"),
        ("00123: x\n", "device address in quotes"),
        ("a: 5\n", "remark in quotes"),
        (b"\xff\xfe\x00", "device_notes"),
        ("[" * 3000, "device_notes"),
        ("a: &a [x]\n" + "".join(f"k{i}: &k{i} [*a,*a]\n" for i in range(50)), "references"),
    ],
)
def test_anything_else_is_refused_with_its_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    """Objects, references, bombs and broken YAML are one clear error, and nothing is run."""
    with pytest.raises(SettingsError, match=said):
        read_notes(_file(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    """A path without a file is named."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        read_notes(tmp_path / "nowhere.yaml")
