"""The analyst's tour: every cell runs offline and shows what its heading promises."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from usagekit.export.exporters import export_html

TOUR = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The tour after it ran in a folder of its own, where every way to the network is a dead end."""
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    folder = tmp_path_factory.mktemp("tour")
    book = NotebookClient(
        nbformat.read(TOUR, as_version=4), timeout=120, resources={"metadata": {"path": folder}}
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADSPIN_")}
    book.execute(env={**environment, **dead})
    assert list(folder.iterdir()) == []
    return book.nb


def test_every_cell_shows_something_and_complains_about_nothing(toured: NotebookNode) -> None:
    """No cell is silent, none warns on stderr, and no answer is shown as the name of an object."""
    for cell in toured.cells:
        if cell.cell_type == "code":
            assert cell.outputs, cell.source
            assert all(output.get("name") != "stderr" for output in cell.outputs), cell.source
            assert not any("object at 0x" in str(output) for output in cell.outputs), cell.source


def test_every_chart_is_one_picture_in_words(toured: NotebookNode) -> None:
    """A cell that draws shows exactly one picture, and its alternative text survives the export to HTML."""
    drawing = [c for c in toured.cells if ".plot()" in c.source or ".heatmap()" in c.source]
    drawing = [c for c in drawing if c.cell_type == "code"]
    assert len(drawing) >= 5
    said = []
    for cell in drawing:
        (output,) = cell.outputs
        said.append(output.metadata["image/png"]["alt"])
    html = export_html(toured, name="explore")
    assert all(words.split(":")[0].replace("&", "&amp;") in html for words in said)


def test_the_tour_answers_its_questions(toured: NotebookNode) -> None:
    """It says why the month changed and whether it is true, and ends with a question of the reader's own."""
    text = "\n".join(str(output.get("data", output)) for c in toured.cells for output in c.get("outputs", []))
    assert "Payments used 882" in text
    assert "'badge'" in text or "green" in text
    assert "HEADSPIN_API_TOKEN" in text
    assert "## Your question" in toured.cells[-2].source
