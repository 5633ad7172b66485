"""Pages in a real browser and PDFs of a real compiler: nothing in them runs, asks, reads or calls."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pypdf import PdfReader

from tests.chromium import in_chromium
from tests.faults.offline import can_be_offline, offline, packets
from tests.faults.payloads import LAB_NAME, MARKUP, TEAMS
from tests.paper.notebooks import code, marker, notebook, shown, text
from tests.paper.test_export_safety import every_way
from usagekit.export.exporters import export_html

ROOT = Path(__file__).parents[2]
in_namespace = pytest.mark.skipif(not can_be_offline(), reason="this machine allows no network namespace")


def opened(*pages: Path) -> dict[str, Any]:
    """What Chromium, without a network where that is possible, heard of the pages."""
    command = offline("-m", "tests.faults.quiet_page", *map(str, pages))
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def assert_quiet(told: dict[str, Any]) -> None:
    for name, about in told["pages"].items():
        assert about["told"] == about["tripped"] == [], name
        assert [
            script for script in about["scripts"] if not is_ours(script, Path(name.rpartition(" ")[0]))
        ] == [], name
        assert about["address"].startswith("file://"), name
        assert about["title"] != "ran", name
    if can_be_offline():
        assert told["packets"] == 0


def is_ours(script: str, page: Path) -> bool:
    """Whether a script is that of the index of all months: word for word in our own file, and named by its policy."""
    text = script.removeprefix("<script>").removesuffix("</script>")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    ours = (ROOT / "usagekit" / "report" / "site.html.j2").read_text("utf-8")
    return (
        page.parts[-2:] == ("reports", "index.html")
        and script in ours
        and f"'sha256-{digest}'" in page.read_text("utf-8")
    )


@in_chromium
@pytest.mark.promise(3)
@pytest.mark.promise(4)
def test_the_tripwire_trips(tmp_path: Path) -> None:
    """A page that runs a script, by a handler too, and one that asks for an image are both noticed."""
    (tmp_path / "runs.html").write_text(
        "<title>a</title><b onmouseover=alert(1)>x</b><a href=javascript:print()>y</a><script>document.title='ran'</script>"
    )
    (tmp_path / "asks.html").write_text("<title>a</title><img src='http://192.0.2.1/x.png'>")
    told = opened(tmp_path / "runs.html", tmp_path / "asks.html")
    runs, _, asks, _ = told["pages"].values()
    assert (runs["title"], runs["tripped"], len(runs["scripts"])) == ("ran", ["alert", "print"], 1)
    assert any("192.0.2.1" in text for text in asks["told"])
    assert told["packets"] > 0


@in_chromium
@pytest.mark.promise(3)
@pytest.mark.promise(4)
def test_no_markup_in_any_output_runs(tmp_path: Path) -> None:
    """Each payload in each way that a notebook shows things, opened also without the page's own policy."""
    cells = [
        cell
        for name in MARKUP
        for cell in (*every_way(name), text(name), text(f"# {name}\n\n| {name} |\n|--|\n"))
    ]
    raw = [code(shown({"text/html": name})) for name in MARKUP]
    styled = pd.DataFrame({name: [name] for name in MARKUP}).style.set_caption(MARKUP[1]).format(escape=None)
    svg = [
        code(
            shown(
                {
                    "image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'><desc>{name}</desc><script>alert(1)</script></svg>"
                }
            )
        )
        for name in MARKUP
    ]
    about = marker(lab=LAB_NAME, team=TEAMS[1], month="2023-03", timezone=MARKUP[2], as_of=MARKUP[3])
    made = notebook(*cells, *raw, *svg, code(shown({"text/html": styled.to_html()}), about), title=MARKUP[1])
    (tmp_path / "page.html").write_text(export_html(made, name=MARKUP[2]), "utf-8", "surrogatepass")
    assert_quiet(opened(tmp_path / "page.html"))


@in_chromium
@in_namespace
@pytest.mark.slow
@pytest.mark.promise(3)
@pytest.mark.promise(4)
def test_reports_index_and_mails_are_quiet(whole_way: Path) -> None:
    """Reports, index and mails of a lab full of hostile names open without a network: nothing runs, no packet goes out."""
    pages = sorted((whole_way / "reports").rglob("*.html"))
    assert {path.name for path in pages} >= {"report.html", "index.html", "lab.html"}
    assert len(pages) >= 2 * len(TEAMS) + 3
    assert_quiet(opened(*pages))
    all_of_it = "".join(path.read_text("utf-8") for path in pages)
    assert "&lt;script&gt;document.title=" in all_of_it  # the names are there, as text
    assert "7*7" in all_of_it


SECRET = "sesame-4711"
READERS = (
    '#read("{path}")', '#image("{path}")', '#raw(read("{path}"))', '#include "{path}"', '#import "{path}": *', '#csv("{path}")',
    '#json("{path}")', '#yaml("{path}")', '#toml("{path}")', '#xml("{path}")', '#plugin("{path}")', '#bibliography("{path}")',
    '#pdf.attach("{path}")', '#read("/etc/passwd")', '#import "@preview/cetz:0.3.0": *', '#import "@local/x:0.0.1": *',
    '#image("http://192.0.2.1/x.png")', '#eval("read(\\"{path}\\")")', '#read("../" * 9 + "{path}")',
)  # fmt: skip

COMPILE = """
import json, sys, warnings
from pathlib import Path
from tests.chromium import in_chromium
from tests.faults.offline import packets
from tests.paper.notebooks import figure, notebook, code, text, shown
from usagekit.export.exporters import export_pdf
warnings.simplefilter("ignore")
sources = json.loads(Path(sys.argv[1]).read_text())
cells = [cell for source in sources for cell in (code(figure(source)), text(source), code(shown({"text/html": f"<p>{source}</p>"})))]
Path(sys.argv[2]).write_bytes(export_pdf(notebook(*cells, title=sources[0]), name=sources[0]))
print(packets(Path("/proc/net/dev").read_text()))
"""


@pytest.mark.promise(5)
def test_making_a_pdf_reads_nothing(tmp_path: Path) -> None:
    """Typst code that wants a file, a package or an address, even as a figure's own source, gets none of it."""
    secret = tmp_path / "secret.txt"
    secret.write_text(f"root:{SECRET}")
    sources = [source.replace("{path}", path) for source in READERS for path in (str(secret), "secret.txt")]
    (tmp_path / "sources.json").write_text(json.dumps(sources))
    command = offline("-c", COMPILE, str(tmp_path / "sources.json"), str(tmp_path / "made.pdf"))
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120
    )
    if can_be_offline():
        assert int(done.stdout) == 0
    assert_closed((tmp_path / "made.pdf").read_bytes())
    assert {path.name for path in tmp_path.iterdir()} == {"secret.txt", "sources.json", "made.pdf"}


@pytest.mark.promise(5)
@pytest.mark.slow
def test_pdfs_of_hostile_names_are_closed(whole_way: Path) -> None:
    """The PDFs of a lab full of Typst code print it, and hold no file, link to a file, script or attachment."""
    pdfs = sorted((whole_way / "reports").rglob("*.pdf"))
    assert len(pdfs) == len(TEAMS) + 1
    for path in pdfs:
        assert_closed(path.read_bytes())
    shown_text = "".join(page.extract_text() for path in pdfs for page in PdfReader(path).pages)
    assert '#read("/etc/passwd")' in shown_text.replace("\u200b", "").replace("\n", "")


def assert_closed(content: bytes) -> None:
    reader = PdfReader(io.BytesIO(content))
    words = "".join(page.extract_text() for page in reader.pages)
    assert SECRET not in words
    assert "root:x:0" not in words
    assert not reader.attachments
    catalogue = str(reader.trailer["/Root"])
    for key in ("/OpenAction", "/AA", "/JavaScript", "/EmbeddedFiles", "/AcroForm"):
        assert key not in catalogue
    for page in reader.pages:
        for note in page.get("/Annots", ()):
            action = note.get_object().get("/A", {})
            assert action.get("/S", "/URI") in ("/URI", "/GoTo")
            assert str(action.get("/URI", "http")).startswith(("http", "mailto:", "#"))


@in_namespace
@pytest.mark.slow
@pytest.mark.promise(15)
def test_the_whole_way_needs_no_network(whole_way: Path) -> None:
    """Import, server, fetch, reports, PDFs and mails are made where there is nothing but loopback, and loopback was used."""
    interfaces = (whole_way / "record" / "interfaces.txt").read_text()
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()[2:]] == ["lo"]
    assert packets(interfaces) > 100
    assert len(list((whole_way / "reports" / "2023-03").glob("*/report.pdf"))) == len(TEAMS) + 1
    codes = (whole_way / "record" / "exit-codes.tsv").read_text()
    for step in ("import", "fetch", "render", "preview", "send"):
        assert f"{step}\t0\n" in codes
