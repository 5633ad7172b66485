"""Small notebooks, named after the trait that a test is about, and the units that use them.

Each is written to a file by nbformat when a test asks for it: its parameters cell, the cells of its trait, and,
unless the trait is its absence, the completion marker.
"""

from __future__ import annotations

from pathlib import Path

from nbformat import v4, writes

from usagekit.report.template import load_template
from usagekit.report.unit import Unit, report_directory

PARAMETERS = 'team = "Payments"\nmonth = "2023-03"\nsnapshot = "demo"'
MARKER = """
from IPython.display import display
facts = {
    "template": "good", "team": team, "month": month, "title": f"{team} – March 2023", "lab": "Test lab",
    "timezone": "Europe/Berlin", "as_of": "2023-04-01T06:00:00+00:00", "total_hours": 12.5,
}
display({"application/vnd.usagekit.report+json": facts, "text/plain": "Complete"}, raw=True)
"""

BEGAN = "began.txt"
TELLS = f"""
import time
from pathlib import Path
with (Path(snapshot).parent / "{BEGAN}").open("a", encoding="utf-8") as began:
    print(time.monotonic(), team, file=began)
"""
"""Says in a file beside the snapshot that the cell runs now, so that a test can wait for it and count attempts."""

SIGNALS_WORKER = f"""{TELLS}
import os
zygote = Path(f"/proc/{{os.getppid()}}")
assert any(name in (zygote / "cmdline").read_bytes() for name in (b"report.zygote", b"report.nursery"))
worker = int((zygote / "stat").read_text().rpartition(")")[2].split()[1])
if team == "B":
    os.kill(worker, NUMBER)
"""

SHOWS_ALL_ENVIRONMENTS = """
import os
from pathlib import Path
print(dict(os.environ))
who = os.getpid()
for name in ("kernel", "zygote", "worker", "nursery"):
    process = Path(f"/proc/{who}")
    print(name, *((process / file).read_text() for file in ("cmdline", "environ")))
    who = int((process / "stat").read_text().rpartition(")")[2].split()[1])
"""

STARVES = f"""{TELLS}
import os
group = Path((Path(snapshot).parent / "group.txt").read_text())
(group / "cgroup.procs").write_text(str(os.getpid()))
hoard = bytearray(400 << 20)
"""

TRAITS: dict[str, tuple[str, ...]] = {
    "good": ('print("all well")', MARKER),
    "cell_error": ("x = 1", "1 / (x - 1)", MARKER),
    "exits": ("import sys\nsys.exit(0)", MARKER),
    "kills_kernel": (f"{TELLS}\nimport os\nos.kill(os.getpid(), 9)", MARKER),
    "starves_in_its_group": (STARVES, MARKER),
    "kills_worker_of_b": (SIGNALS_WORKER.replace("NUMBER", "9"), MARKER),
    "stops_worker_of_b": (SIGNALS_WORKER.replace("NUMBER", "19"), MARKER),
    "computes_in_c": (f"{TELLS}\nsum(range(10**12))", MARKER),
    "empty": (),
    "breaks_pictures": (
        "from IPython.display import Image, SVG\ndisplay(Image(b'\\x89PNG\\r\\n\\x1a\\nrubbish', format='png'))",
        "display({\"image/svg+xml\": \"<svg xmlns='http://www.w3.org/2000/svg'><use href='#a' id='a'/></svg>\"}, raw=True)",
        MARKER,
    ),
    "shows_long_table": (
        "import pandas as pd\npd.options.display.max_rows = 9999\npd.DataFrame({'n': range(5000)})",
        MARKER,
    ),
    "shows_rare_letter": ('display({"text/markdown": "a \U00010380 b"}, raw=True)', MARKER),
    "b_waits_for_word": (
        f"{TELLS}\nwhile team == 'B' and not (Path(snapshot).parent / 'go').exists():\n    time.sleep(0.05)",
        MARKER,
    ),
    "sleeps_a_little": ("import time\ntime.sleep(0.5)", MARKER),
    "slow_for_others": ('import time\nif team != "A":\n    time.sleep(20)', MARKER),
    "fails_for_b": ('if team == "B":\n    raise ValueError("no rows for B")', MARKER),
    "unmarked": ('print("nothing more")',),
    "wrong_team": ('team = "Somebody else"', MARKER),
    "wrong_month": ('month = "2023-02"', MARKER),
    "shows_environment": (
        "import os\nfor name in sorted(os.environ):\n    print(name, os.environ[name])",
        MARKER,
    ),
    "shows_all_environments": (SHOWS_ALL_ENVIRONMENTS, MARKER),
    "shows_directory": ("import os\nprint(os.getcwd())", MARKER),
    "takes_memory": ("room = bytearray(2 * 1024**3)\ndel room", MARKER),
    "sleeps": (
        f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{TELLS}\ntime.sleep(60)",
        MARKER,
    ),
    "fetches_again": (
        "from pathlib import Path\n(Path(snapshot) / 'manifest.json').write_text('{\"tables\": {\"new\": 1}}')",
        MARKER,
    ),
    "sleeps_for_b": ('import time\nif team == "B":\n    time.sleep(60)', MARKER),
    "floods": ('for _ in range(300):\n    print("x" * 999)', MARKER),
    "floods_by_an_error": ("raise ValueError('x' * 20_000_000)", MARKER),
    "takes_its_time": (*["import time\ntime.sleep(0.8)"] * 8, MARKER),
    "shows_too_much": ('display({"text/html": "x" * 300_000}, raw=True)', MARKER),
}


def write_template(directory: Path, trait: str) -> Path:
    """Write the notebook of a trait and return its path."""
    cells = [v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    cells += [v4.new_code_cell(source) for source in TRAITS[trait]]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = directory / f"{trait}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(writes(v4.new_notebook(cells=cells, metadata=metadata)), "utf-8")
    return path


def write_snapshot(directory: Path, content: str = '{"tables": {}}') -> Path:
    """A directory that looks like a snapshot from outside: its manifest is all that the batch reads."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").write_text(content, "utf-8")
    return directory


def unit_of(directory: Path, trait: str, team: str = "Payments") -> Unit:
    """A report of March 2023 from the notebook of a trait, below ``directory``."""
    template = load_template(write_template(directory / "notebooks", trait))
    snapshot = write_snapshot(directory / "snapshot")
    reports = directory / "reports"
    return Unit(template, team, "2023-03", snapshot, report_directory(reports, "2023-03", team=team))
