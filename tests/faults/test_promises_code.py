"""What the sources may not do, read from the sources, and what follows from it, tried out."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.payloads import MARKUP, USERS
from tests.paper.templates import unit_of
from tests.wire.conftest import Served
from usagekit.api.guard import Guard
from usagekit.api.limits import Limits
from usagekit.query import UsageQuery
from usagekit.report.ledger import open_ledger
from usagekit.report.unit import Failure

PACKAGE = Path(__file__).parents[2] / "usagekit"
TREES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Each call with the name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


REVIEWED = {
    "report/ledger.py": {"columns", "statement"},  # names of our own columns; a literal above it
    "report/sqlite_file.py": {"statement"},  # literals of the modules that keep tables
    "engine/cluster.py": {"setting"},  # DuckDB's settings take no parameters: folders as quoted literals
    "delivery/outbox_table.py": {"', '.join('?' * len(_NAMES))"},  # as many question marks as columns
}


@pytest.mark.promise(9)
def test_sql_is_written_by_us() -> None:
    """Each statement is a literal; what is filled in are constants of the module, or was looked at and is listed here."""
    seen: dict[str, set[str]] = {}
    statements = 0
    for name, tree in TREES.items():
        for called, call in calls(tree):
            if (
                called.rpartition(".")[2] not in ("execute", "executemany", "executescript", "raw_sql")
                or not call.args
            ):
                continue
            statements += 1
            text = call.args[0]
            holes = (
                [h.value for h in text.values if isinstance(h, ast.FormattedValue)]
                if isinstance(text, ast.JoinedStr)
                else []
            )
            if not isinstance(text, ast.Constant | ast.JoinedStr):
                holes = [text]
            odd = {ast.unparse(hole) for hole in holes} - {
                h for h in map(ast.unparse, holes) if re.fullmatch("_?[A-Z_]+", h)
            }
            if odd:
                seen.setdefault(name, set()).update(odd)
    assert statements > 15
    assert seen == REVIEWED


@pytest.mark.promise(9)
def test_names_are_values_in_the_ledger(tmp_path: Path) -> None:
    """Names and errors that are SQL are kept letter by letter, and every table is still there."""
    units = [
        unit_of(tmp_path / str(number), "good", name)
        for number, name in enumerate((*USERS, *MARKUP, "x' OR '1'='1"))
    ]
    with open_ledger(tmp_path) as ledger:
        ledger.plan([(unit, "key'; DROP TABLE units; --") for unit in units])
        for unit in units:
            ledger.fail(Failure(unit, 1, "'; DELETE FROM units; --", f"{unit.team}'); --"))
        found = ledger.entries("2023-03").values()
        assert {entry.team for entry in found} == {unit.team for unit in units}
        assert {entry.error for entry in found} == {f"{unit.team}'); --" for unit in units}


@pytest.mark.promise(9)
def test_duckdb_is_closed(tmp_path: Path, served: Served) -> None:
    """DuckDB takes no extension and no other settings, and a filter that is SQL is a name that nobody has."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("ibis")
    from usagekit.engine.cluster import Cluster

    cluster = Cluster("duckdb")
    run = cluster._connection.raw_sql
    for attempt in (
        "INSTALL httpfs", "LOAD httpfs", "SET autoinstall_known_extensions = true", "SET allow_unsigned_extensions = true",
        "INSTALL h3 FROM community", "SET lock_configuration = false", "SELECT * FROM read_csv('https://127.0.0.1/x.csv')",
        "ATTACH 'https://127.0.0.1/x.db'", "SET enable_external_access = true", "SET allowed_directories = ['/']",
        "SET temp_directory = '/tmp'", "SET memory_limit = '900GB'",
    ):  # fmt: skip
        with pytest.raises(duckdb.Error):
            run(attempt)
    for name in (
        "x' OR '1'='1",
        f"'; COPY (SELECT 1) TO '{tmp_path}/made'; --",
        "') UNION SELECT read_text('/etc/passwd') --",
    ):
        query = UsageQuery.from_params(
            "team", [("start_date", "20230301"), ("end_date", "20230331"), ("filter_on.team_name", name)]
        )
        assert cluster.usage(served.store, query).height == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.promise(9)
@pytest.mark.promise(5)
def test_duckdb_opens_the_index_and_nothing_else(tmp_path: Path, served: Served) -> None:
    """Before a question no file at all; after it the index of its store: no other file, no link out of it, no writing."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("ibis")
    from usagekit.engine.cluster import Cluster

    cluster, index = Cluster("duckdb"), served.store.path / "index"
    part = next(path for path in index.rglob("*.parquet"))
    read = f"SELECT count(*) FROM read_parquet('{part}')"
    with pytest.raises(duckdb.Error, match="Permission"):
        cluster._connection.raw_sql(read)
    query = UsageQuery.from_params("team", [("start_date", "20230301"), ("end_date", "20230331")])
    assert cluster.usage(served.store, query).height
    run = cluster._connection.raw_sql
    assert run(read).fetchall()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    link = part.parent / "link.csv"
    link.symlink_to(tmp_path / "secret.csv")
    try:
        for attempt in (
            "SELECT * FROM read_text('/etc/passwd')", f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
            f"SELECT * FROM read_csv('{link}')", f"SELECT * FROM read_csv('{part.parent}/../../../../etc/passwd')",
            f"COPY (SELECT 1) TO '{tmp_path}/made.csv'", f"ATTACH '{tmp_path}/made.db'",
        ):  # fmt: skip
            with pytest.raises(duckdb.Error, match="Permission"):
                run(attempt)
    finally:
        link.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "jsonpickle",
    "code",
    "codeop",
}
UNSAFE_CALLS = {
    *(
        "eval",
        "exec",
        "compile",
        "os.system",
        "os.popen",
        "yaml.load",
        "yaml.unsafe_load",
        "yaml.full_load",
        "yaml.load_all",
    ),
    *("pd.read_pickle", "np.load", "pandas.read_pickle", "numpy.load", "tempfile.mktemp", "__import__"),
}


@pytest.mark.promise(10)
def test_nothing_that_is_read_is_run() -> None:
    """The package unpickles, evaluates and hands to a shell nothing, and reads YAML by the safe loader alone."""
    found = set()
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                )
                found |= {(name, module) for module in modules if module.split(".")[0] in UNSAFE_MODULES}
        for called, call in calls(tree):
            if called in UNSAFE_CALLS or any(k.arg == "shell" for k in call.keywords):
                found.add((name, called))
            if called.startswith("yaml.") and called != "yaml.safe_load":
                loaders = [ast.unparse(k.value) for k in call.keywords if k.arg == "Loader"]
                assert loaders == ["yaml.SafeLoader"], name
    assert found == set()


@pytest.mark.promise(10)
@pytest.mark.slow
def test_nothing_is_unpickled_but_by_workers(whole_way: Path) -> None:
    """Over the whole way only the worker processes of a batch unpickle, and only what their own batch has sent them."""
    spied = [
        line.split("\t", 1) for line in (whole_way / "record" / "spied.txt").read_text("utf-8").splitlines()
    ]
    loaded = {tuple(text[1:-1].split("\\t")[1:]) for _, text in spied if "pickle.find_class" in text}
    assert loaded  # the spy sees it
    homes = {module.split(".")[0] for module, _ in loaded}
    assert homes <= {
        "usagekit",
        "multiprocessing",
        "pathlib",
        "functools",
        "datetime",
        "builtins",
        "nbformat",
    }
    commands = {command for command, text in spied if "pickle.find_class" in text}
    workers = ("cli", "report/nursery.py")  # a worker is called so until it has heard from its batch
    assert all(any(w in command for w in workers) or command in ("", "-c") for command in commands), commands


@pytest.mark.promise(10)
@pytest.mark.slow
def test_notebooks_that_are_made_are_not_signed(whole_way: Path) -> None:
    """Jupyter trusts no notebook of a report, so that opening one runs nothing in it."""
    import nbformat

    notebooks = sorted((whole_way / "reports").glob("*/*/*.ipynb"))
    assert {path.name for path in notebooks} == {"report.ipynb", "report.failed.ipynb"}
    assert (
        list(whole_way.rglob("nbsignatures.db")) == []
    )  # where Jupyter keeps what it trusts, in this user's home
    for path in notebooks:
        made = nbformat.read(path, as_version=4)
        assert "signature" not in made.metadata
        assert not any(cell.metadata.get("trusted") for cell in made.cells)


def patterns() -> dict[tuple[str, str, str], str]:
    """Every regular expression of the package: file, method and pattern; its constant parts, where it is put together."""
    found = {}
    for name, tree in TREES.items():
        named: dict[str, ast.Call] = {}
        for node in ast.walk(tree):
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if (
                isinstance(value, ast.Call)
                and ast.unparse(value.func) == "re.compile"
                and isinstance(target, ast.Name)
            ):
                named[target.id] = value
        for called, call in calls(tree):
            owner, _, method = called.rpartition(".")
            if method in (
                "search",
                "match",
                "fullmatch",
                "sub",
                "findall",
                "finditer",
                "split",
            ) and owner in ("re", *named):
                source = named[owner].args[0] if owner in named else call.args[0]
                if isinstance(source, ast.Constant):
                    flags = "".join(ast.unparse(a) for a in (named[owner].args[1:] if owner in named else []))
                    flags += "".join(ast.unparse(k.value) for k in call.keywords if k.arg == "flags")
                    found[name, method, source.value] = flags
    return found


# Read what we have written ourselves, a chart's SVG and a checked template's page: no input.
OWN_OUTPUT = {"figures/style.py", "report/starter.py"}
MILLION = 1 << 20


def slow_on(pattern: str | bytes, method: str, flags: str) -> str | None:
    """The piece that, repeated to a megabyte, takes a pattern more than two seconds; shorter ones are tried first."""
    text = pattern.decode() if isinstance(pattern, bytes) else pattern
    bits = re.IGNORECASE * ("IGNORECASE" in flags) | re.DOTALL * ("DOTALL" in flags)
    run = getattr(re.compile(pattern, bits), method)
    literal = re.sub(r"\\[a-zA-Z]|[\\^$.|?*+(){}\[\]]", "", text)[:20]
    pieces = {"a", "0", " ", "-", ".", "\n", "<", "a-", "0.", "a.", "\x1b[", "?a", f"{literal} ", *literal}
    for piece in sorted(pieces):
        for size in (
            MILLION >> 7,
            MILLION >> 4,
            MILLION,
        ):  # what grows with the square is seen before it hangs
            subject = (piece * (size // len(piece) + 1))[:size] + "\x00!"
            given = subject.encode() if isinstance(pattern, bytes) else subject
            began = time.process_time()
            found = run(given[:0], given) if method == "sub" else run(given)
            if method == "finditer":
                list(found)
            if time.process_time() - began > 2 * max(size / MILLION, 0.05):
                return piece
    return None


@pytest.mark.promise(11)
def test_no_pattern_is_slow_on_a_megabyte() -> None:
    """Each regular expression ends within two seconds on a megabyte of whatever it likes least."""
    tried = {
        (n, m, p): slow_on(p, m, flags) for (n, m, p), flags in patterns().items() if n not in OWN_OUTPUT
    }
    assert len(tried) > 40
    assert {what: piece for what, piece in tried.items() if piece is not None} == {}


@pytest.mark.promise(11)
def test_a_slow_pattern_is_noticed() -> None:
    """Patterns that take the square of their input, or worse, are found."""
    assert slow_on(r"[0-9]+\.?[0-9]*", "fullmatch", "") == "0"
    assert slow_on(r"\s+$", "search", "") is not None


@pytest.mark.promise(12)
def test_tokens_are_compared_in_constant_time() -> None:
    """The guard compares by compare_digest, and takes as long for a wrong first byte as for a wrong last one."""
    admits = next(
        n for n in ast.walk(TREES["api/guard.py"]) if isinstance(n, ast.FunctionDef) and n.name == "_admits"
    )
    compared = [ast.unparse(n) for n in ast.walk(admits) if isinstance(n, ast.Compare)]
    assert not [text for text in compared if "token" in text]
    assert "hmac.compare_digest" in {name for name, _ in calls(admits)}
    token = b"t" * 2_000_000  # so long that a comparison that stops early would be a thousand times as quick

    async def nothing(*_: object) -> None: ...

    guard = Guard(nothing, token=token.decode(), hosts=(), limits=Limits())

    def seconds(secret: bytes) -> float:
        times = []
        for _ in range(15):
            began = time.process_time()
            assert not guard._admits([(b"authorization", b"Bearer " + secret)])
            times.append(time.process_time() - began)
        return min(times)  # what disturbs a measurement only makes it longer

    first, last = seconds(b"x" + token[1:]), seconds(token[:-1] + b"x")
    assert 1 / 3 < first / last < 3


@pytest.mark.promise(12)
def test_there_is_nothing_to_list(served: Served) -> None:
    """No path outside the eleven routes and their description answers, with the token neither."""
    import httpx

    for path in (
        "/",
        "/v1",
        "/v1/usage/",
        "/events",
        "/store",
        "/..",
        "/%2e%2e/etc/passwd",
        "/docs",
        "/static",
        "/openapi.json/",
    ):
        answer = httpx.get(f"{served.base_url}{path}", headers={"Authorization": "Bearer canary-7f3a"})
        assert answer.status_code == 404, path
        assert set(answer.json()) == {"status", "status_code", "detail"}
        assert "access-control-allow-origin" not in answer.headers
