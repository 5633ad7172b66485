"""Warm kernels: equal to cold ones in all that a report can see, alone in the world, and gone when they should be."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode, v4

import usagekit.report
from tests.paper.processes import MARK, cells_begun, processes_of, until
from tests.paper.templates import unit_of
from usagekit.report import warm, zygote
from usagekit.report.forker import CannotForkError
from usagekit.report.kernels import LeanClient, WarmProvisioner
from usagekit.report.limits import Limits, kernel_environment
from usagekit.report.render import render_unit
from usagekit.report.template import load_template
from usagekit.report.unit import Failure, Rendered, Unit, report_directory
from usagekit.sample_lab import demo_snapshot

KERNELSPEC = Path(usagekit.report.__path__[0]) / "kernelspec"
PARENT = "import os\nprint(open(f'/proc/{os.getppid()}/cmdline').read().replace(chr(0), ' '))"
ZYGOTE = "usagekit.report.zygote"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


def run(*sources: str, options: dict[str, Any] | None = None, **launch: Any) -> list[list[NotebookNode]]:
    """The outputs of cells in a kernel of our provisioner, which is given ``options``."""
    manager = AsyncKernelManager(kernel_name="python3")
    provisioner = {"provisioner_name": "usagekit", "config": options or {}}
    manager.kernel_spec.metadata["kernel_provisioner"] = provisioner
    manager.client_factory = LeanClient
    notebook = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    client = NotebookClient(notebook, km=manager, timeout=60)
    client.owns_km = True  # ends the kernel
    client.execute(**{"env": kernel_environment(), **launch})
    return [cell.outputs for cell in notebook.cells]


def printed(*sources: str, options: dict[str, Any] | None = None, **launch: Any) -> str:
    """What the last cell printed."""
    return "".join(output.text for output in run(*sources, options=options, **launch)[-1])


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def seconds_until_gone(*pids: int, patience: float = 5.0) -> float:
    """How long it took until none of the processes was left; fails after ``patience`` seconds."""
    began = time.monotonic()
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < began + patience, f"still there: {left}"
        time.sleep(0.02)
    return time.monotonic() - began


FOREIGN = """
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from IPython.display import Markdown
plt.plot([1, 3, 2], label="Café"); plt.legend(); plt.show()
"""
OURS = """
from usagekit.figures import style
with style.chart_style():
    drawing = style.canvas(30)
    drawing.add_subplot().plot([1, 3, 2], label="チーム")
    print(style.to_svg(drawing))
"""
FRAMES = """
import pandas as pd, pyarrow as pa, sys
print(pa.table({"a": [1]}).to_pandas().dtypes.to_dict(), sys.argv[0].rsplit("/")[-1], sys.path[1:], __name__)
print(sys.flags, plt.get_backend(), plt.rcParams["figure.dpi"], pd.options.display.max_rows)
pd.DataFrame({"n": [1.5, None], "name": ["NA", "<script>"]})
"""


def test_warm_kernel_shows_what_a_cold_one_shows() -> None:
    """Figures, frames, text, search path and settings are the same to the byte, forked or started."""
    cells = (FOREIGN, OURS, FRAMES, "plt.figure(); plt.bar([1], [2]);", "Markdown('*x*')", "np.arange(3)")
    forked, started = (run(*cells, options={"warm": which}) for which in (True, False))
    assert [[output.output_type for output in cell] for cell in forked] == [
        *(["display_data"], ["stream"], ["stream", "execute_result"], ["display_data"]),
        *(["execute_result"], ["execute_result"]),
    ]
    assert "image/png" in forked[0][0].data
    assert forked == started


@pytest.mark.slow
def test_team_report_is_the_same_warm_and_cold(tmp_path: Path) -> None:
    """The real template gives the same outputs and the same pages from a forked and from a started kernel."""
    lab = demo_snapshot()
    template = load_template("team_month")
    made = []
    for cold in (False, True):
        folder = report_directory(tmp_path / str(cold), "2023-03", team="Payments")
        unit = Unit(template, "Payments", "2023-03", lab, folder)
        outcome = render_unit(unit, cold=cold)
        assert isinstance(outcome, Rendered), outcome
        notebook = nbformat.read(folder / "report.ipynb", as_version=4)
        outputs = [cell.get("outputs") for cell in notebook.cells]
        assert sum(len(o or ()) for o in outputs) > 8
        made.append((outputs, (folder / "report.html").read_bytes(), (folder / "report.pdf").read_bytes()))
    assert made[0] == made[1]


def test_nothing_survives_from_one_report_to_the_next() -> None:
    """What a notebook changes in modules, settings, environment and directory is not seen by the next one."""
    look = """
import builtins, json, logging, os, random, sys, warnings
import matplotlib as mpl, numpy as np, pandas as pd, usagekit.analysis
print(json.dumps([os.environ.get("LEFT"), os.getcwd(), mpl.rcParams["font.size"], pd.options.display.max_rows,
    np.get_printoptions()["precision"], hasattr(usagekit.analysis, "left"), hasattr(builtins, "left"),
    sys.path, len(warnings.filters), sorted(globals())[:3], logging.getLogger().level]))
"""
    change = """
os.environ["LEFT"] = "x"; os.chdir("/"); mpl.rcParams["font.size"] = 31; pd.options.display.max_rows = 3
np.set_printoptions(precision=1); usagekit.analysis.left = builtins.left = 1; sys.path.insert(0, "/left")
warnings.simplefilter("ignore"); logging.getLogger().setLevel(7)
"""
    before = printed(look)
    changed = printed(look, change, look)
    assert changed != before
    assert printed(look) == before


def test_kernels_draw_different_random_numbers() -> None:
    """Kernels forked from one process do not share the state of its random generators."""
    draw = (
        "import random, uuid, numpy as np, tempfile\nprint(random.random(), np.random.rand(), uuid.uuid4())"
    )
    drawn = [printed(draw).split() for _ in range(4)]
    assert all(len(set(column)) == 4 for column in zip(*drawn, strict=True))


@pytest.mark.promise(1)
def test_environment_is_exactly_that_of_a_cold_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither secrets of this process nor settings of the forking one are in a kernel's environment."""
    monkeypatch.setenv("HEADSPIN_API_TOKEN", "canary-7312")
    monkeypatch.setenv("LC_MONETARY", "C.UTF-8")
    show = "import json, os\nprint(json.dumps(dict(os.environ)))"
    forked, started = (json.loads(printed(show, options={"warm": which})) for which in (True, False))
    assert forked.pop("JPY_PARENT_PID") != started.pop("JPY_PARENT_PID")
    assert forked == started
    assert forked["LC_MONETARY"] == "C.UTF-8"
    family = "".join(f"print(open('/proc/{who}/environ').read())\n" for who in ("self", "{os.getppid()}"))
    seen = printed("import os", family.replace("'/proc/{os", "f'/proc/{os"))
    assert "LC_MONETARY" in seen
    assert "canary" not in seen


@pytest.mark.promise(13)
def test_kernel_inherits_no_file_and_shares_nothing_it_writes(tmp_path: Path) -> None:
    """Open files of this process are not open in a kernel; with ``private`` nobody else reads what it writes."""
    secret = tmp_path / "secret"
    descriptor = os.open(secret, os.O_CREAT | os.O_RDWR)
    os.set_inheritable(descriptor, True)
    show = (
        "import os\n"
        "for who in ('self', os.getppid()):\n"
        "    for n in os.listdir(f'/proc/{who}/fd'):\n"
        "        try: print(who, n, os.readlink(f'/proc/{who}/fd/{n}'))\n"
        "        except OSError: pass"
    )
    try:
        for which in (True, False):
            lines = [
                line.split(" ", 2)
                for line in printed(show, options={"warm": which, "private": True}).splitlines()
            ]
            own = {target for who, number, target in lines if who == "self" and int(number) > 2}
            parent = {target for who, _, target in lines if who != "self" and target.startswith("socket:")}
            assert own
            assert parent  # the zygote's, or this process's, line to its kernels
            assert not own & {str(secret), *parent}
    finally:
        os.close(descriptor)
    for which in (True, False):
        where = str(tmp_path / f"written-{which}")
        printed(f"import os\nos.mkdir({where!r})", options={"warm": which, "private": True})
        assert stat.S_IMODE(Path(where).stat().st_mode) == 0o700


@pytest.mark.promise(11)
@pytest.mark.fault(37)
@pytest.mark.parametrize("cold", [False, True])
def test_memory_limit_fails_the_report_alone(tmp_path: Path, cold: bool) -> None:
    """A cell that takes more memory than a report may have fails with its error; the next report is made."""
    unit = unit_of(tmp_path, "takes_memory")
    outcome = render_unit(unit, limits=Limits(memory_bytes=2 * 1024**3), cold=cold)
    assert isinstance(outcome, Failure)
    assert (outcome.cell_index, outcome.error_name) == (2, "MemoryError")
    assert isinstance(render_unit(unit, limits=Limits(memory_bytes=6 * 1024**3), cold=cold), Rendered)


@pytest.mark.fault(37)
@pytest.mark.parametrize("cold", [False, True])
def test_killed_kernel_is_seen_within_seconds(tmp_path: Path, cold: bool) -> None:
    """A kernel that is killed, as the system does when memory runs out, ends its report in less than 5 s."""
    outcome = render_unit(unit_of(tmp_path, "kills_kernel"), limits=Limits(cell_seconds=60), cold=cold)
    seen = time.monotonic()
    assert isinstance(outcome, Failure)
    assert outcome.error_name == "KernelDied"
    assert "signal 9" in outcome.error
    (killed,) = cells_begun(tmp_path)["Payments"]
    assert seen - killed < 5


def fork(tmp_path: Path, code: str) -> warm.ForkedKernel:
    """A kernel that runs ``code`` by itself when it starts, without Jupyter's client."""
    arguments = ["-f", str(tmp_path / "connection.json"), f"--IPKernelApp.exec_lines={json.dumps([code])}"]
    return warm.fork_kernel(warm.Request(arguments, kernel_environment(), str(tmp_path)))


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import os; os._exit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.abort()", -6),
    ],
)
def test_exit_code_is_known(tmp_path: Path, code: str, exit_code: int) -> None:
    """However a kernel ends, its code or its signal is told."""
    assert fork(tmp_path, code).wait(20) == exit_code


def test_forked_kernel_is_handled_like_a_process(tmp_path: Path) -> None:
    """A running kernel has no exit code, can be waited for in vain, and ends by the signal it is sent."""
    kernel = fork(tmp_path, "x = 1")
    assert kernel.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        kernel.wait(0.05)
    kernel.terminate()
    assert kernel.wait(5) == -signal.SIGTERM == kernel.poll()
    kernel.kill()  # of no effect: its number may be somebody else's by now


def test_processes_of_a_notebook_end_with_its_kernel() -> None:
    """A program that a notebook started in the background does not outlive the report."""
    pid = int(printed("import subprocess\nprint(subprocess.Popen(['sleep', '300']).pid)"))
    seconds_until_gone(pid)


OWNER = """
import json, os, sys, time
from usagekit.report.warm import Request, fork_kernel
from usagekit.report.limits import kernel_environment
kernels = []
for number in (1, 2):
    os.mkdir(f"sockets{number}")
    code = json.dumps(["import subprocess; subprocess.Popen(['sleep', '301'])", BUSY])
    arguments = ["-f", os.path.abspath(f"{number}.json"), f"--IPKernelApp.exec_lines={code}"]
    request = Request(arguments, kernel_environment(), os.getcwd(), sockets=os.path.abspath(f"sockets{number}"))
    kernels.append(fork_kernel(request))
print(*(kernel.pid for kernel in kernels), flush=True)
time.sleep(300)
"""


@pytest.mark.parametrize("busy", ["x = 1", "sum(range(10**12))"])
def test_killed_owner_leaves_no_process_and_no_socket(tmp_path: Path, busy: str) -> None:
    """When a worker is killed, its zygote, its kernels (busy ones too) and their programs are gone within 5 s."""
    script = OWNER.replace("BUSY", repr(busy))
    own = os.environ | {MARK: str(tmp_path.resolve())}

    def programs() -> list[int]:
        return [pid for pid, command in processes_of(tmp_path).items() if command == "sleep 301 "]

    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=own
    ) as owner:
        assert owner.stdout
        kernels = [int(pid) for pid in owner.stdout.readline().split()]
        (zygote,) = {int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in kernels}
        until(lambda: len(programs()) == 2, seconds=60)
        assert {owner.pid, zygote, *kernels, *programs()} <= set(processes_of(tmp_path))
        owner.kill()
        until(lambda: not processes_of(tmp_path), seconds=5)
    assert not list(tmp_path.glob("sockets*"))


def test_killed_zygote_takes_its_kernels_and_is_replaced(tmp_path: Path) -> None:
    """When the forking process is killed its kernels end, are known to have, and the next kernel is warm again."""
    kernel = fork(tmp_path, "sum(range(10**12))")
    zygote = int(Path(f"/proc/{kernel.pid}/stat").read_text().split()[3])
    os.kill(zygote, signal.SIGKILL)
    seconds_until_gone(kernel.pid)
    assert kernel.wait(5) == -signal.SIGKILL
    assert ZYGOTE in printed(PARENT)


def test_a_fork_that_fails_costs_no_other_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for descriptors, here or in the zygote, one kernel starts cold; those that run go on."""
    monkeypatch.setattr(WarmProvisioner, "_refused", False)
    kernel = fork(tmp_path, "x = 1")
    parent = int(Path(f"/proc/{kernel.pid}/stat").read_text().split()[3])
    for pid, room in ((os.getpid(), len(list(Path("/proc/self/fd").iterdir()))), (parent, 3)):
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, before[1]))
        try:
            with pytest.raises(CannotForkError) as caught:
                fork(tmp_path, "x = 1")
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        assert not caught.value.lasting
        assert kernel.poll() is None
    kernel.kill()
    assert ZYGOTE in printed(PARENT), "the next one is warm again"


def test_a_zygote_that_cannot_fork_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process is left the zygote tells it and lives on."""

    def no_fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", no_fork)
    monkeypatch.setattr(zygote, "thread_count", lambda: 1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    streams = [os.open(os.devnull, os.O_RDWR) for _ in range(3)]
    kernels: dict[int, Any] = {}
    zygote._fork({"descriptors": 4}, [theirs.detach(), *streams], kernels, zygote.become_kernel)
    with ours:
        assert "nothing can be forked" in json.loads(ours.recv(4096))["error"]
        assert ours.recv(4096) == b""
    assert kernels == {}


@pytest.mark.parametrize("zygote", ["at work", "new"])
def test_many_open_files_hide_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zygote: str) -> None:
    """A process with more than a thousand open files has kernels and sees them end, whenever it got its zygote."""
    if zygote == "at work":
        fork(tmp_path, "x = 1").kill()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, limits[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        if zygote == "new":
            monkeypatch.setenv(MARK, str(tmp_path))  # another environment has a zygote of its own
        kernel = fork(tmp_path, "x = 1")
        assert kernel.poll() is None
        kernel.kill()
        assert kernel.wait(5) == -signal.SIGKILL
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_kernel_whose_zygote_died_at_once_ends() -> None:
    """Between the fork and the kernel's first step nobody tells it that the zygote died: it asks."""
    late = "from usagekit.report import zygote; zygote._leave_zygote({}, [], zygote=2**22)"
    done = subprocess.run([sys.executable, "-c", late], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def test_prepared_zygote_forks_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote that was started ahead of the first report is the one that the report's kernel comes from."""

    def zygotes() -> set[int]:
        return {pid for pid, command in processes_of(tmp_path).items() if ZYGOTE in command}

    monkeypatch.setenv(MARK, str(tmp_path.resolve()))
    warm.prepare(kernel_environment())
    (prepared,) = zygotes()
    assert int(printed("import os\nprint(os.getppid())")) == prepared


def test_second_thread_makes_kernels_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the forking process has a second thread nothing is forked: reports are made cold, with one warning."""
    starts_thread = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[300], daemon=True).start()"
    )
    (tmp_path / "sitecustomize.py").write_text(starts_thread)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(WarmProvisioner, "_refused", False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = [printed(PARENT) for _ in range(2)]
    assert ["start cold" in str(w.message) and "2 threads" in str(w.message) for w in caught].count(True) == 1
    assert not any(ZYGOTE in parent for parent in shown)


def test_another_interpreter_is_started_and_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a system where kernels are not forked, and where it is asked for, a kernel is started cold."""
    assert ZYGOTE not in printed(PARENT, options={"warm": False})
    monkeypatch.setattr(WarmProvisioner, "_refused", False)
    monkeypatch.setattr(warm.sys, "platform", "darwin")
    with pytest.warns(RuntimeWarning, match="darwin"):
        assert ZYGOTE not in printed(PARENT)


@pytest.fixture
def kernelspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel specification that the package installs, where Jupyter finds it."""
    shutil.copytree(KERNELSPEC, tmp_path / "kernels" / "usagekit")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return "usagekit"


def test_papermill_and_nbclient_find_warm_kernels_by_name(kernelspec: str) -> None:
    """Stock papermill and nbclient run a notebook in a forked kernel when they are told its name."""
    notebook = v4.new_notebook(cells=[v4.new_code_cell("x = 1"), v4.new_code_cell(PARENT)])
    notebook.metadata.kernelspec = {"name": kernelspec, "language": "python", "display_name": "usagekit"}
    by_papermill = papermill.execute_notebook(notebook, None, kernel_name=kernelspec, progress_bar=False)
    assert ZYGOTE in by_papermill.cells[-1].outputs[0].text
    assert ZYGOTE in NotebookClient(notebook, kernel_name=kernelspec).execute().cells[-1].outputs[0].text


def test_jupyter_server_runs_interrupts_and_restarts_warm_kernels(kernelspec: str) -> None:
    """Under JupyterLab's own kernel manager a warm kernel runs, is interrupted, restarted and ended."""

    async def session() -> tuple[list[str], list[int]]:
        kernels = AsyncMappingKernelManager()
        name = await kernels.start_kernel(kernel_name=kernelspec)
        manager = kernels.get_kernel(name)
        heard, pids = [], []

        async def say(code: str) -> str:
            client = manager.client()
            client.start_channels()
            await client.wait_for_ready(timeout=60)
            said: list[str] = []
            spoke = asyncio.Event()

            def hear(message: dict[str, Any]) -> None:
                said.append(str(message["content"]))
                if message["msg_type"] == "stream":
                    spoke.set()

            task = asyncio.ensure_future(client.execute_interactive(code, output_hook=hear, timeout=60))
            if "sleep" in code:
                await asyncio.wait_for(spoke.wait(), 60)
                await kernels.interrupt_kernel(name)
            await task
            client.stop_channels()
            return "".join(said)

        heard += [await say(PARENT), await say("import time; y = 1; print(y, flush=True); time.sleep(600)")]
        pids.append(manager.provisioner.pid)
        await kernels.restart_kernel(name)
        pids.append(manager.provisioner.pid)
        heard += [await say("print('y' in globals())"), await say(PARENT)]
        await kernels.shutdown_kernel(name)
        return heard, pids

    (forked, interrupted, fresh, again), pids = asyncio.run(session())
    assert ZYGOTE in forked
    assert ZYGOTE in again
    assert "KeyboardInterrupt" in interrupted
    assert "False" in fresh
    assert pids[0] != pids[1]
    seconds_until_gone(*pids)


def test_no_socket_directory_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The private directory of a kernel's sockets is gone with the kernel."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    printed("print(1)")
    assert list(tmp_path.iterdir()) == []


def test_socket_directories_of_killed_processes_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left goes with the next kernel; what another process uses, and new ones, stay."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used, left, new = (tmp_path / f"usagekit-kernel-{name}" for name in ("used", "left", "new"))
    for folder in (used, left, new):
        folder.mkdir()
        (folder / "kernel-1").touch()
    for folder in (used, left):
        os.utime(folder, (0, 0))
    lock = os.open(used, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        printed("print(1)")
        assert set(tmp_path.iterdir()) == {used, new}
    finally:
        os.close(lock)
