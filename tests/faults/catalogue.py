"""The 68 faults, and which tests inject them: ``python -m tests.faults.catalogue`` writes docs/faults.md.

The page is made from the ``fault`` markers of the tests, read from their source.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"

FAULTS = {
    1: "the token is refused (401)",
    2: "the API, or a CDN that dislikes a GET with a body, forbids (403)",
    3: "no such route, or a wrong base URL (404)",
    4: "a rate limit that says how many seconds to wait",
    5: "a rate limit that says it with a date, wrongly, or by another clock",
    6: "a server that fails and recovers",
    7: "a server that fails for ever; what was fetched stays",
    8: "a connection reset at any byte",
    9: "an answer that ends early without saying so",
    10: "CSV cut at the end of a line",
    11: "gzip that is cut, damaged, in members, double; codings not asked for",
    12: "a web page in place of an answer",
    13: "JSON that is none, or is no answer",
    14: "an answer that drips",
    15: "an answer that swells, or never ends",
    16: "no such host, nobody there, a black hole, a dead first address, a proxy in the environment",
    17: "certificates that prove nothing, old TLS",
    18: "redirects",
    19: "an answer to another question",
    20: "a range of events that is too long",
    21: "sessions twice or missing at the border of two requests",
    22: "sessions that are truly equal",
    23: "days of 23 and 25 hours, hours that come twice or never",
    24: "time zones that do not exist, or are paths",
    25: "a machine without the old names of time zones",
    26: "dates in odd forms",
    27: "a column that is new",
    28: "a column that is missing, renamed or of another type or unit",
    29: "rows without a team, or with team and user",
    30: "team names that are paths, markup, formulas, or twins of each other",
    31: "sessions of impossible length, or in the future",
    32: "sessions that overlap, or cross midnight, a month, a change of clocks",
    33: "sessions on both sides of the change of August 2022",
    34: "numbers that move after their report",
    35: "a cell that fails",
    36: "a cell that hangs",
    37: "a kernel that runs out of memory",
    38: "a kernel that never starts",
    39: "a flood of output",
    40: "a notebook that ends early and calls it success",
    41: "a full disk, at every write",
    42: "a disk that cannot be written or read",
    43: "a polite end (SIGTERM) in the middle of a batch",
    44: "kill -9 at any step of a batch",
    45: "two batches at once",
    46: "what a crash or an older version left behind",
    47: "a schedule that fires late, twice, or across a change of clocks",
    48: "characters without a glyph in the PDF",
    49: "broken or huge pictures",
    50: "an enormous table",
    51: "a PDF engine that crashes or hangs",
    52: "some recipients refused",
    53: "all recipients refused, for now or for good",
    54: "a mail server that refuses to authenticate or to encrypt",
    55: "a mail connection that drops at any byte",
    56: "a mail server that is silent after the message",
    57: "a message that is too large",
    58: "addresses and headers that are malformed or injected",
    59: "mail that is accepted and bounces later",
    60: "kill -9 or power loss during an import",
    61: "bits that flip, files that are cut or foreign",
    62: "two writers, or a reader during an import",
    63: "bad parameters to the server",
    64: "a question with millions of bins",
    65: "bad tokens to the server",
    66: "slow, many, or malformed connections to the server",
    67: "many clients during an import",
    68: "settings that are malformed or malicious",
}


def marked_tests(marker: str = "fault") -> dict[int, list[str]]:
    """For each number the tests that carry the marker with it, as ``path::name``, in order."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        of_module = [
            n for node in tree.body if isinstance(node, ast.Assign) for n in _numbers(node.value, marker)
        ]
        for name, function, of_class in _functions(tree, marker):
            numbers = [n for mark in function.decorator_list for n in _numbers(mark, marker)]
            for number in {*numbers, *of_module, *of_class}:
                found[number].add(f"{path.relative_to(TESTS.parent).as_posix()}::{name}")
    return {number: sorted(tests) for number, tests in found.items()}


def page() -> str:
    """The page as the markers say it must be."""
    marked = marked_tests()
    covered = sum(number in marked for number in FAULTS)
    lines = [
        "# Faults, and the tests that inject them",
        "",
        "Made by `python -m tests.faults.catalogue` from the `fault` markers of the tests; a test holds the two equal.",
        f"{covered} of {len(FAULTS)} faults are injected by a test, with real sockets, processes and disks.",
        "",
        "| # | fault | tests |",
        "|---|---|---|",
    ]
    for number, name in FAULTS.items():
        lines.append(f"| {number} | {name} | {told(marked.get(number, []))} |")
    return "\n".join([*lines, "", *_figures()]) + "\n"


def _figures() -> Iterator[str]:
    """What the long runs have counted, of each kind the newest line; a run that fails writes none."""
    yield "## Figures of the long runs"
    yield ""
    yield "`make soak` kills, cuts, fills and races for real and adds a line a run to docs/soak-*.jsonl; the newest of each kind:"
    yield ""
    yield "| run | counted | on |"
    yield "|---|---|---|"
    for file in sorted(PAGE.parent.glob("soak-*.jsonl")):
        newest = {line["what"]: line for line in map(json.loads, file.read_text("utf-8").splitlines())}
        for what, line in newest.items():
            counts = "; ".join(f"{name}: {n:,}" for name, n in line.items() if isinstance(n, int | float))
            yield f"| {what} ({file.stem.removeprefix('soak-')}) | {counts} | {line['at']} |"


def told(tests: list[str]) -> str:
    """The tests of one row of a page, by file."""
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        file, _, name = test.partition("::")
        by_file[file].append(f"`{name.removeprefix('test_')}`")
    return "<br>".join(f"{file}: {', '.join(names)}" for file, names in by_file.items()) or "not yet"


def _functions(tree: ast.Module, marker: str) -> Iterator[tuple[str, ast.FunctionDef, list[int]]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, node, []
        elif isinstance(node, ast.ClassDef):
            numbers = [n for mark in node.decorator_list for n in _numbers(mark, marker)]
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner, numbers


def _numbers(expression: ast.expr, marker: str) -> list[int]:
    """The numbers of all ``pytest.mark.<marker>(...)`` in an expression."""
    return [
        number.value
        for node in ast.walk(expression)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}"
        for number in node.args
        if isinstance(number, ast.Constant) and isinstance(number.value, int)
    ]


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE.name}: {page().splitlines()[3]}")
