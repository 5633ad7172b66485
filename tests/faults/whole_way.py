"""The whole way with real processes, watched: import, serve, fetch, render, preview, send, and every kind of error.

``python -m tests.faults.whole_way FOLDER`` runs it with canaries for secrets, hostile names and umask 000. Each of its
processes tells where it connects, what it writes and what it unpickles; whatever is made lies in FOLDER.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme
from nbformat import v4, writes

from tests.conftest import session
from tests.faults.payloads import DEVICES, LAB_NAME, NOTE, SECRETS, TEAMS, USERS
from tests.post.smtp import Mailboxes, serving_smtp
from tests.serving import serving
from usagekit.report.template import load_template, trust

MONTH = "2023-03"
ROOT = Path(__file__).parents[2]

SPY = """
import os, sys
told, busy = set(), [False]
def spy(event, args):
    if busy[0] or event not in ("pickle.find_class", "socket.connect", "socket.getaddrinfo", "open"):
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    args = args[1:2] if event == "socket.connect" else args[:2] if event == "pickle.find_class" else args[:1]
    line = f"{event}\\t" + "\\t".join(os.fsdecode(a) if isinstance(a, bytes | os.PathLike) else str(a) for a in args)
    if line not in told:
        told.add(line)
        busy[0] = True
        file = os.open(os.environ["HOME"] + "/../record/spied.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(file, f"{sys.argv[0] if hasattr(sys, 'argv') else ''}\\t{line!r}\\n".encode("utf-8", "replace"))
        os.close(file)
        busy[0] = False
sys.addaudithook(spy)
"""

FAILS = """
import os, sys
print(dict(os.environ))
import usagekit
try:
    usagekit.connect()
except Exception as error:
    print(error, file=sys.stderr)
raise RuntimeError(f"{team}: {dict(os.environ)}")
"""

MAIL = """
import sys
from usagekit.delivery import preview, resolve, send_month, status_rows
from usagekit.settings import load_settings
settings, month, what = load_settings(), sys.argv[2], sys.argv[1]
if what == "preview":
    print(*preview(settings, month).paths, sep="\\n")
elif what == "send":
    print(send_month(settings, month))
elif what == "resolve":
    print(resolve(settings))
print(*status_rows(settings), sep="\\n")
"""


class Way:
    """The folder, the environment of every process, and what each said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        for name in ("record", "home", "tmp", "spy", "in"):
            (folder / name).mkdir(parents=True)
        (folder / "spy" / "sitecustomize.py").write_text(SPY)
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "USAGEKIT_CACHE": str(folder / "cache"),
            "USAGEKIT_CONFIG": str(folder / "usagekit.toml"),
            "PYTHONPATH": f"{folder / 'spy'}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib")),
            **SECRETS,
        }

    def run(self, name: str, *command: str, **more: str) -> int:
        """Run a command to its end and keep what it said; ``more`` are variables of its environment."""
        with (self.record / f"{name}.txt").open("wb") as said:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=self.folder,
                env=self.environment | more,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=240,
                check=False,
                start_new_session=True,  # a crash on purpose ends the whole group
            )
        with (self.record / "exit-codes.tsv").open("a") as codes:
            codes.write(f"{name}\t{done.returncode}\n")
        return done.returncode

    def usagekit(self, name: str, *arguments: str, **more: str) -> int:
        """Run a command of usagekit."""
        return self.run(name, "-m", "usagekit.cli", *arguments, **more)

    def settings(self, url: str, **mail: object) -> None:
        """Write usagekit.toml for an API and a mail server."""
        about = {
            "from_address": "usage@example.com", "owners": ["owner@example.com"],
            "lab_managers": ["boss@example.com"], "username": "usage",
        } | mail  # fmt: skip
        archive = about.pop("archive", None)
        lines = [
            f"lab_name = {toml(LAB_NAME)}", "names = true", f"base_url = {toml(url)}", "price = 1000",
            'device_notes = "notes.yaml"', "[mail]", *(f"{k} = {toml(v)}" for k, v in about.items()),
        ]  # fmt: skip
        lines += ["[mail.archive]", *(f"{k} = {toml(v)}" for k, v in archive.items())] if archive else []
        lines += ["[recipients]", *(f'{toml(team)} = ["lead@example.com"]' for team in TEAMS)]
        (self.folder / "usagekit.toml").write_text("\n".join(lines), "utf-8")
        (self.folder / "notes.yaml").write_text(f'"{DEVICES[0][0]}@{DEVICES[0][1]}": {toml(NOTE)}\n', "utf-8")


def toml(value: object) -> str:
    """A value as TOML, which for these is JSON too."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return '"' + "".join(c if c.isascii() and c.isalnum() else f"\\u{ord(c):04x}" for c in str(value)) + '"'


def walk(folder: Path) -> None:
    """The whole way, in order."""
    way = Way(folder)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    write_events(folder / "in")
    for name in ("lab_month", "team_month"):  # as they are now, whether or not they have been checked again
        copied = folder / "notebooks" / f"{name}.ipynb"
        copied.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", copied)
        trust(load_template(copied))
    write_failing(folder / "notebooks" / "fails.ipynb")
    boxes = Mailboxes()
    with watched(way), serving_smtp(boxes, tls=tls, login=True):
        mail = {
            "enabled": True,
            "host": "127.0.0.1",
            "port": boxes.port,
            "ca_file": str(folder / "ca.pem"),
            "timeout_seconds": 20,
        }
        archive = {"host": "127.0.0.1", "port": 1, "username": "u", "ca_file": str(folder / "ca.pem")}
        way.usagekit("import", "import", *map(str, sorted((folder / "in").iterdir())), "--store", "store")
        said = way.record / "serve.txt"
        with serving(folder / "store", environment=way.environment, said=said) as url:
            way.settings(url, **mail)
            way.usagekit("fetch", "fetch", "--month", MONTH)
            way.usagekit("doctor", "doctor")
            way.usagekit(
                "refused",
                "query",
                "/v1/usage",
                "start_date=20230301",
                HEADSPIN_API_TOKEN=f"{SECRETS['HEADSPIN_API_TOKEN']}x",
            )
            way.usagekit("bad-question", "query", "/v1/usage", "start_date=nonsense")
        way.usagekit("nobody-there", "query", "/v1/usage", "start_date=20230301", "end_date=20230302")
        way.usagekit("render", "render", "--month", MONTH)
        way.usagekit(
            "fails", "render", "--month", MONTH, "--template", "fails", "--team", "NA", "--log", "json"
        )
        way.usagekit("no-such-template", "render", "--month", MONTH, "--template", "no_such")
        way.run("preview", "-c", MAIL, "preview", MONTH)
        way.run(
            "wrong-password",
            "-c",
            MAIL,
            "send",
            MONTH,
            USAGEKIT_SMTP_PASSWORD=f"{SECRETS['USAGEKIT_SMTP_PASSWORD']}x",
        )
        way.run("killed", "-c", MAIL, "send", MONTH, USAGEKIT_CRASH_AT="mail:dot-sent@1")
        way.run("send", "-c", MAIL, "send", MONTH)
        way.settings(url, **mail, archive=archive)
        way.run("resolve", "-c", MAIL, "resolve", MONTH)
        way.run("status", "-c", MAIL, "status", MONTH)
        way.usagekit("run", "run", "--month", MONTH)
        way.settings(url, **mail, host_of_nothing=True)
        way.usagekit("bad-settings", "fetch", "--month", MONTH)
    for number, (_, content) in enumerate(boxes.taken):
        (way.record / f"taken-{number}.eml").write_bytes(content)
    (way.record / "interfaces.txt").write_text(Path("/proc/net/dev").read_text())


def write_events(folder: Path) -> None:
    """Sessions of February and March 2023 of every team, user and device, and the tables that they refer to."""
    import polars as pl

    from tests.oracle import Lab
    from tests.strategies import tables

    sessions = []
    for number in range(120):
        day, hour = f"2023-{2 + number % 2:02}-{1 + number % 28:02}", 8 + number % 9
        device, host = DEVICES[number % len(DEVICES)]
        team, user = TEAMS[number % len(TEAMS)], USERS[number % len(USERS)]
        sessions.append(
            session(
                number, f"{day} {hour:02}:00", f"{day} {hour:02}:{20 + number % 30}", team=team, user=user,
                email=f"p{number % len(USERS)}@example.com", device_id=device, hostname=host, automated=number % 5 == 0,
            )
        )  # fmt: skip
    made = tables(
        Lab(
            sessions=sessions,
            devices=[
                dict(
                    zip(
                        ("device_id", "hostname", "model", "os", "form_factor"),
                        (*d, d[0], "Android", "phone"),
                        strict=True,
                    )
                )
                for d in DEVICES
            ],
            hosts=[{"hostname": host, "country": NOTE} for host in sorted({host for _, host in DEVICES})],
            users=[
                {"email": f"p{n}@example.com", "user": user, "notes": NOTE} for n, user in enumerate(USERS)
            ],
            memberships=[],
            teams=[{"team": team} for team in TEAMS],
        )
    )
    for name in ("events", "devices", "hosts", "users", "teams"):
        frame: pl.DataFrame = getattr(made, name)
        frame.write_parquet(folder / f"{name}.parquet")


def write_failing(path: Path) -> None:
    """A template that shows all it can see and then fails; checked, as far as the record beside it says."""
    cells = [
        v4.new_code_cell(
            'team = "x"\nmonth = "2023-03"\nsnapshot = "demo"', metadata={"tags": ["parameters"]}
        )
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(
        writes(v4.new_notebook(cells=[*cells, v4.new_code_cell(FAILS)], metadata=metadata)), "utf-8"
    )
    trust(load_template(path))


@contextmanager
def watched(way: Way) -> Iterator[None]:
    """Keep the command lines of all our processes, and the environments of kernels and of what is forked with them."""
    commands: set[bytes] = set()
    environments: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    environment = (process / "environ").read_bytes()
                    command = (process / "cmdline").read_bytes()
                except OSError:  # it has ended
                    continue
                if bytes(way.folder) in environment and int(process.name) != os.getpid():
                    commands.add(command.replace(b"\0", b" "))
                    if any(name in command for name in (b"nursery", b"zygote", b"ipykernel")):
                        environments.add(environment.replace(b"\0", b"\n"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        (way.record / "processes.txt").write_bytes(b"\n".join(sorted(commands)))
        (way.record / "kernels.txt").write_bytes(b"\n\n".join(sorted(environments)))


def main() -> None:
    os.umask(0)
    walk(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
