"""Templates run only as they were checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from usagekit.errors import RenderError
from usagekit.report.template import TRUSTED, load_template, require_trusted, trust

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.promise(10)
@pytest.mark.parametrize("name", ["team_month", "lab_month"])
def test_our_templates_are_as_they_were_checked(name: str) -> None:
    """What is in the repository is what usagekit template check has passed."""
    require_trusted(load_template(NOTEBOOKS / f"{name}.ipynb"))


@pytest.mark.promise(10)
def test_a_changed_template_is_refused(tmp_path: Path) -> None:
    """One changed byte, or no record at all, and nothing of it is run; the way out is named."""
    for name in ("team_month.ipynb", TRUSTED):
        shutil.copy(NOTEBOOKS / name, tmp_path / name)
    path = tmp_path / "team_month.ipynb"
    require_trusted(load_template(path))
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    with pytest.raises(RenderError, match=r"was changed since it was checked.*usagekit template check"):
        require_trusted(load_template(path))
    own = shutil.copy(path, tmp_path / "own.ipynb")
    with pytest.raises(RenderError, match="never checked"):
        require_trusted(load_template(Path(own)))
    trust(load_template(Path(own)))
    require_trusted(load_template(Path(own)))
    trust(load_template(path))
    require_trusted(load_template(Path(own)))
    require_trusted(load_template(path))


@pytest.mark.promise(10)
def test_a_damaged_record_trusts_nobody(tmp_path: Path) -> None:
    """A record that cannot be read is an error and no blank permission."""
    path = shutil.copy(NOTEBOOKS / "team_month.ipynb", tmp_path / "team_month.ipynb")
    (tmp_path / TRUSTED).write_bytes(b"\xff\xfe")
    with pytest.raises(RenderError, match=TRUSTED):
        require_trusted(load_template(Path(path)))
