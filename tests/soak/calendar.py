"""Years of unattended runs: ``python -m tests.soak.calendar [--months N] [--rate P]``.

The schedule fires through the months of a simulated clock; each fire suffers each fault with probability P. In the end
every report of every month must have been sent once to each of its people, or be listed with its cause.
"""

from __future__ import annotations

import argparse
import contextlib
import email
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.post.smtp import Mailboxes, MailProxy, cutting, port_of, serving_smtp
from tests.post.world import RECIPIENTS, World, due_at, world
from tests.soak.lines import report
from usagekit.delivery import status_rows
from usagekit.delivery.overview import overview
from usagekit.delivery.run import exit_code
from usagekit.period import shift_month
from usagekit.settings import load_settings

FAULTS: Final = (
    "missed", "twice", "clock set back", "API refuses", "API stalls", "kernel killed", "crash at a step", "kill -9",
    "mail cut off", "451", "550",
)  # fmt: skip
STEPS: Final = (
    "work:made", "publish:checked", "publish:wrote-report.pdf", "publish:renamed-report.html", "publish:synced-month",
    "ledger:rendered", "ledger:rendered-committed", "ledger:run-begun", "ledger:run-done-committed", "batch:locked",
    "run:fetched", "run:rendered", "run:sent", "ledger:mail-queued", "mail:data-sent", "mail:dot-sent", "mail:answered",
    "ledger:mail-sent",
)  # fmt: skip
FIRES: Final = tuple(timedelta(hours=hours) for hours in (-1, 0, 1, 2, 4, 7, 26))
REPOSITORY: Final = Path(__file__).parents[2]


@dataclass
class Simulation:
    """A lab, its mail server and a proxy before it, and the faults so far."""

    lab: World
    boxes: Mailboxes
    proxy: MailProxy
    dice: random.Random
    happened: Counter[str] = field(default_factory=Counter)

    def fire(self, now: datetime, rate: float) -> None:
        """Let the timer fire once, with each fault at its rate."""
        faults = {fault for fault in FAULTS if self.dice.random() < rate}
        self.happened.update(faults)
        if "missed" in faults:
            return
        now -= timedelta(hours=2 * ("clock set back" in faults))
        with self._suffering(faults):
            if faults & {"crash at a step", "kill -9", "twice"}:
                self._in_processes(now, faults)
            else:
                self.lab.runner(lambda: now).due()

    @contextlib.contextmanager
    def _suffering(self, faults: set[str]) -> Iterator[None]:
        unlucky = self.dice.choice(["boss@example.com", *(to for (to,) in RECIPIENTS.values())])
        self.lab.mood.now = (
            "refuses" if "API refuses" in faults else "stalls" if "API stalls" in faults else ""
        )
        self.proxy.cut_sent_after = self.dice.randrange(1, 60_000) if "mail cut off" in faults else None
        if "kernel killed" in faults:
            (self.lab.folder / "kill-a-kernel").touch()
        if "451" in faults:
            self.boxes.rcpt = lambda to: "451 not now" if to == unlucky else ""
        if "550" in faults:
            self.boxes.data = lambda to: "550 no" if to == unlucky else ""
        yield
        self.lab.mood.now, self.proxy.cut_sent_after = "", None
        self.boxes.rcpt = self.boxes.data = lambda _: ""
        (self.lab.folder / "kill-a-kernel").unlink(missing_ok=True)

    def _in_processes(self, now: datetime, faults: set[str]) -> None:
        crash = {"USAGEKIT_CRASH_AT": self.dice.choice(STEPS)} if "crash at a step" in faults else {}
        command = [
            sys.executable,
            "-m",
            "tests.soak.calendar",
            "--child",
            str(self.lab.folder),
            self.lab.url,
            now.isoformat(),
        ]
        # Templates are looked for where a run works.
        where = {"PYTHONPATH": str(REPOSITORY)}
        processes = [
            subprocess.Popen(
                command, cwd=self.lab.folder, env=os.environ | where | crash, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for _ in range(1 + ("twice" in faults))
        ]  # fmt: skip
        if "kill -9" in faults:
            time.sleep(self.dice.uniform(1, 15))
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        ended = [process.wait(300) for process in processes]
        assert set(ended) <= {0, 1, 3, 4, -signal.SIGKILL}, ended


def simulate(folder: Path, months: int, dice: random.Random, *, rate: float) -> Mapping[str, int]:
    """Live through some months from January 2024 on; gives what became of the mails, and the faults."""
    first = "2024-01"
    wanted = [shift_month(first, number) for number in range(months)]
    with (
        serving_smtp() as boxes,
        cutting(boxes.port) as proxy,
        world(
            folder,
            first=date(2023, 11, 1),
            months=months + 2,
            smtp_port=port_of(proxy),
            first_month=f'"{first}"',
        ) as lab,
    ):
        simulation = Simulation(lab, boxes, proxy, dice)
        for month in wanted:
            for fire in FIRES:
                simulation.fire(due_at(month) + fire, rate)
        for hours in range(30, 60, 3):  # the faults are over
            simulation.fire(due_at(wanted[-1]) + timedelta(hours=hours), 0)
        states = _check(folder, wanted, boxes, now=due_at(wanted[-1]) + timedelta(days=3))
    return {"months": months, **states, **{f"fault: {name}": n for name, n in simulation.happened.items()}}


def _check(folder: Path, wanted: list[str], boxes: Mailboxes, *, now: datetime) -> Mapping[str, int]:
    settings = load_settings(folder / "usagekit.toml")
    seen = overview(settings, now=now)
    assert {about.month: about.state for about in seen.months} == dict.fromkeys(wanted, "done")
    arrived = Counter(str(email.message_from_bytes(content)["Message-ID"]) for _, content in boxes.taken)
    rows = [row for row in status_rows(settings) if row.template != "owners"]
    people = {**{team: to for team, (to,) in RECIPIENTS.items()}, None: "boss@example.com"}
    assert Counter((row.team, row.month, row.recipient) for row in rows) == Counter(
        (team, month, to) for team, to in people.items() for month in wanted
    )
    listed = "\n".join(problem for about in seen.months for problem in about.problems)
    for row in rows:
        times = arrived[row.message_id]
        assert times in {"sent": (1,), "refused": (0,), "unknown": (0, 1)}[row.state], row
        assert row.state == "sent" or f"{row.month}: mail to {row.recipient}" in listed, row
    return Counter(row.state for row in rows)


def _child(folder: str, url: str, now: str) -> int:
    clock: Callable[[], datetime] = partial(datetime.fromisoformat, now)
    return exit_code(World(Path(folder), url).runner(clock).due())


def _soak(months: int, dice: random.Random, rate: float) -> Mapping[str, int]:
    with TemporaryDirectory(prefix="usagekit-") as folder, contextlib.chdir(folder):
        return simulate(Path(folder), months, dice, rate=rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="add the line to docs/soak-calendar.jsonl")
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "URL", "NOW"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        from usagekit.errors import StoreLocked

        try:
            sys.exit(_child(*asked.child))
        except StoreLocked:
            sys.exit(4)
    run = partial(_soak, asked.months, random.Random(asked.seed), asked.rate)
    report("calendar", run, "soak-calendar.jsonl" if asked.write else None)


if __name__ == "__main__":
    main()
