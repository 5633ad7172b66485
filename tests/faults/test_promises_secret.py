"""The secrets of a lab, over the whole way: in no file, command line, environment of a notebook or mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.canary import found_in, layers, packed_forms
from tests.faults.payloads import SECRETS
from usagekit.api.client import Client
from usagekit.errors import SettingsError

CODES = {
    "import": 0, "fetch": 0, "doctor": 0, "refused": 3, "bad-question": 2, "nobody-there": 3, "render": 0, "fails": 1,
    "no-such-template": 2, "preview": 0, "wrong-password": 1, "killed": -9, "send": 0, "resolve": 1, "status": 0,
    "run": 1, "bad-settings": 2,
}  # fmt: skip


@pytest.mark.promise(1)
@pytest.mark.parametrize("kind", packed_forms("x" * 20))
def test_the_search_finds_what_is_hidden(tmp_path: Path, kind: str) -> None:
    """A secret is found in every kind of file and encoding that the search claims to see through."""
    secret = SECRETS["HEADSPIN_API_TOKEN"]
    (tmp_path / kind).write_bytes(packed_forms(secret)[kind])
    assert (kind, secret) in found_in([tmp_path / kind], [secret])
    assert found_in([tmp_path / kind], ["canary-of-nobody-at-all"]) == []


@pytest.mark.promise(1)
@pytest.mark.slow
def test_no_file_holds_a_secret(whole_way: Path) -> None:
    """Token and passwords stand in no file, output, command line, mail, notebook or PDF of the whole way."""
    said = dict(
        line.split("\t") for line in (whole_way / "record" / "exit-codes.tsv").read_text().splitlines()
    )
    assert {name: int(code) for name, code in said.items()} == CODES
    files = [path for path in whole_way.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".eml", ".html", ".ipynb", ".pdf", ".csv", ".json", ".parquet", ".sqlite", ".gz", ".txt"} <= kinds
    assert found_in(files, SECRETS.values()) == []


@pytest.mark.promise(1)
@pytest.mark.slow
def test_no_kernel_sees_a_secret(whole_way: Path) -> None:
    """Kernels and what forks them have an environment of their own; commands were seen, so they would have told."""
    environments = (whole_way / "record" / "kernels.txt").read_text()
    assert "USAGEKIT_CACHE" in environments
    for name in SECRETS:
        assert name not in environments
    commands = (whole_way / "record" / "processes.txt").read_text()
    for wanted in (
        "usagekit.cli fetch",
        "usagekit.cli serve",
        "usagekit.report.zygote",
        "usagekit.report.nursery",
        "spawn_main",
        "delivery",
    ):
        assert wanted in commands.replace("-m ", "")
    failed = next((whole_way / "reports" / "2023-03").glob("*/report.failed.ipynb"))
    assert any(
        b"USAGEKIT_CACHE" in layer for layer in layers(failed.read_bytes())
    )  # it shows all it could see


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "host",
    ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
     "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "metadata.google.internal", "METADATA.google.internal.", "100.100.100.200"],
)  # fmt: skip
def test_no_spelling_leads_to_the_machine_s_own_network(host: str) -> None:
    """However the address of a cloud's credentials is written, the token does not go there."""
    with pytest.raises(SettingsError):
        Client(base_url=f"https://{host}", token="x")


@pytest.mark.promise(2)
@pytest.mark.slow
def test_the_whole_way_connects_to_what_was_configured(whole_way: Path) -> None:
    """Every connection of every process, and every name that was looked up, is one of the settings."""
    spied = [
        line.split("\t", 1)[1]
        for line in (whole_way / "record" / "spied.txt").read_text("utf-8").splitlines()
    ]
    met = [
        text
        for text in spied
        if text.startswith(("'socket.connect", '"socket.connect', "'socket.getaddrinfo"))
    ]
    assert len(met) > 3
    for text in met:
        assert "127.0.0.1" in text or str(whole_way) in text, text
