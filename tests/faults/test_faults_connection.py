"""Names that lead nowhere, dead addresses, bad certificates, redirects and proxies: where the token goes."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import certifi
import pytest
import trustme

from tests.clock import within
from tests.faults.proxy import proxying
from tests.faults.scripted import Reply, Scripted, rows, scripted
from tests.wire.conftest import TOKEN
from usagekit.api.client import Client
from usagekit.api.retry import Patience
from usagekit.errors import ApiConnectionError, ApiStatusError, SettingsError
from usagekit.query import UsageQuery

QUERY = UsageQuery(start=date(2023, 3, 1), end=date(2023, 3, 31))
ROW = {"datetime": "2023-03-01", "total_time": 1.5, "unit": "hour"}
QUICK = Patience(
    tries=2, request_seconds=1, total_seconds=3, first_wait_seconds=0.01, longest_wait_seconds=0.02
)


def ask(base_url: str, patience: Patience = QUICK, **options: Any) -> list[dict[str, object]]:
    with Client(base_url=base_url, token=TOKEN, patience=patience, **options) as client:
        return client.usage(QUERY)


def fails_to_connect(base_url: str, words: str, **options: Any) -> ApiConnectionError:
    """The error of a question that finds nobody, within the time for it."""
    errors: list[ApiConnectionError] = []

    def given_up_after() -> float:
        begun = monotonic()
        with pytest.raises(ApiConnectionError, match=words) as caught:
            ask(base_url, **options)
        errors.append(caught.value)
        return monotonic() - begun

    within(QUICK.total_seconds + 0.5, given_up_after)
    assert TOKEN not in "".join(map(str, errors))
    return errors[-1]


@pytest.mark.fault(16)
def test_names_that_lead_nowhere() -> None:
    """A host without an address is named."""
    fails_to_connect(
        "https://no-such-host.invalid", r"no-such-host\.invalid: (cannot connect|no whole answer)"
    )


@pytest.mark.fault(16)
def test_a_closed_port() -> None:
    """A port where nobody listens is told with its host, after two tries."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    fails_to_connect(
        f"http://127.0.0.1:{port}", r"127\.0\.0\.1:\d+: cannot connect: .*refused.*tried 2 times"
    )


@pytest.mark.fault(16)
def test_a_black_hole() -> None:
    """A host that takes no connection and says nothing is given up in time."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]  # a full queue drops what else knocks
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        fails_to_connect(
            f"http://127.0.0.1:{full.getsockname()[1]}", r"127\.0\.0\.1:\d+: (no connection|no whole answer)"
        )
        for one in crowd:
            one.close()


@pytest.mark.fault(16)
def test_the_second_address_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first address of a host (IPv6) is dead, the next one is used."""
    with scripted(lambda _: rows(ROW)) as server:
        port = int(server.base_url.rsplit(":", 1)[1])
        addresses = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert ask(f"http://two-addresses.example:{port}", allow_http=True) == [ROW]


@pytest.mark.promise(2)
@pytest.mark.fault(16)
def test_proxies_and_netrc_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a proxy nor a .netrc of the environment has any part in a question."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    with scripted(lambda _: rows()) as other, scripted(lambda _: rows(ROW)) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, other.base_url)
            monkeypatch.setenv(name.lower(), other.base_url)
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        assert ask(server.base_url) == [ROW]
    assert other.asked == []
    assert server.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


@dataclass(frozen=True)
class Authority:
    """A certificate authority that the client trusts, and one that nobody does."""

    trusted: trustme.CA
    other: trustme.CA


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(trustme.CA(), trustme.CA())
    made.trusted.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "ca.pem"))
    return made


def serving_tls(certificate: trustme.LeafCert, change: Callable[[ssl.SSLContext], None] | None = None) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if change:
        change(context)
    return scripted(lambda _: rows(ROW), tls=context)


@pytest.mark.fault(17)
def test_a_good_certificate(authority: Authority) -> None:
    """A certificate of a trusted authority for this very host is taken, also with an address after it."""
    with serving_tls(authority.trusted.issue_cert("127.0.0.1", "localhost")) as server:
        assert ask(server.base_url) == [ROW]


def yesterday() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


def old_tls(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")


@pytest.mark.promise(2)
@pytest.mark.fault(17)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        (lambda a: a.trusted.issue_cert("127.0.0.1", not_after=yesterday()), "expired"),
        (lambda a: a.trusted.issue_cert("api.example.com"), "not valid for"),
        (lambda a: a.other.issue_cert("127.0.0.1"), "unable to get local issuer|self-signed"),
        (lambda a: a.trusted.issue_cert("127.0.0.1"), "cannot connect"),
    ],
    ids=["expired", "wrong host", "unknown authority", "TLS 1.0"],
)
def test_bad_certificates(
    authority: Authority,
    certificate: Callable[[Authority], trustme.LeafCert],
    words: str,
    request: pytest.FixtureRequest,
) -> None:
    """A host that cannot prove who it is gets neither token nor question, at the first try, in plain words."""
    change = old_tls if "TLS 1.0" in request.node.name else None
    with serving_tls(certificate(authority), change) as server:
        error = fails_to_connect(server.base_url, words)
        assert "tried" not in str(error)
        assert server.asked == []


@pytest.mark.promise(2)
@pytest.mark.fault(17)
def test_a_self_signed_certificate(authority: Authority) -> None:
    """A certificate that vouches for itself is refused."""
    root = authority.other
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = root.issue_cert("127.0.0.1")
    leaf.configure_cert(context)
    with scripted(lambda _: rows(ROW), tls=context) as server:
        fails_to_connect(server.base_url, "certificate verify failed")
        assert server.asked == []


@pytest.mark.fault(17)
def test_tls_without_tls() -> None:
    """An https address behind which plain HTTP speaks is an error and nothing is sent."""
    with scripted(lambda _: rows(ROW)) as server:
        fails_to_connect(server.base_url.replace("http:", "https:"), "cannot connect|broke")
        assert server.asked == []


@pytest.mark.promise(2)
@pytest.mark.fault(17)
def test_no_switch_turns_verification_off(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    """Variables of the environment make the client trust nobody else."""
    authority.other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "other.pem"))
    with serving_tls(authority.other.issue_cert("127.0.0.1")) as server:
        fails_to_connect(server.base_url, "certificate verify failed")


@pytest.fixture
def elsewhere() -> Iterator[Scripted]:
    with scripted(lambda _: rows(ROW)) as other:
        yield other


@pytest.mark.promise(2)
@pytest.mark.fault(18)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    ["{other}/v1/usage", "//localhost:1/x", "/v1/usage?again=1", "https://evil.example/x", "http://[", ""],
)
def test_redirects_end_here(elsewhere: Scripted, status: int, target: str) -> None:
    """No redirect is followed, to whichever host, port or scheme; the token stays where it was sent."""
    location = target.format(other=elsewhere.base_url)
    with scripted(lambda _: Reply(status=status, headers={"Location": location})) as server:
        with pytest.raises(ApiStatusError, match="not followed: check base_url"):
            ask(server.base_url)
        assert len(server.asked) == 1
    assert elsewhere.asked == []


@pytest.mark.promise(2)
@pytest.mark.fault(18)
def test_a_proxy_sees_no_token_elsewhere(elsewhere: Scripted) -> None:
    """Behind a proxy that breaks every connection the client goes nowhere else."""
    with proxying(elsewhere.base_url) as proxy:
        proxy.cut_after = 0
        fails_to_connect(proxy.base_url, "tried 2 times")
        assert proxy.connections == 2


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "base_url",
    [
        "http://169.254.169.254",
        "https://169.254.169.254/latest",
        "https://[fe80::1]",
        "https://metadata.google.internal",
        "https://[fd00:ec2::254]",
    ],
)
def test_the_machine_s_own_network_is_no_api(base_url: str) -> None:
    """Addresses where clouds hand out credentials are refused, encrypted or not."""
    with pytest.raises(SettingsError, match="no API"):
        Client(base_url=base_url, token=TOKEN, allow_http=True)
