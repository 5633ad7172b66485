"""Settings: read once, from code before environment before file; every mistake is named, and no secret is shown or taken."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import date, time
from pathlib import Path

import pytest

from usagekit.delivery.init import Answers, first_settings, problem_of, still_missing, write_first_settings
from usagekit.errors import SettingsError
from usagekit.mail_settings import Archive, MailSettings
from usagekit.secret_file import read_secret
from usagekit.settings import FILE_NAME, TOKEN_VARIABLE, Settings, load_settings

CANARY = "canary-91b0-secret"

WHOLE = """
lab_name = "Lab Süd"
timezone = "Asia/Kolkata"
base_url = "https://api.example.com"
end_date = "excluded"
exclude_teams = ["Default", "NA"]
snapshots = "s"
reports = "r"
device_notes = "notes.yaml"
price = 1200.5
currency = "INR"
showback = "all-in"
names = true
paper = "us-letter"
first_month = "2026-02"
[business_hours]
start = "09:30"
end = "17:00"
days = ["Sun", "Mon"]
holidays = [2026-01-26]
[schedule]
day = 28
at = "02:30"
[mail]
enabled = true
host = "smtp.example.com"
port = 465
security = "tls"
from_address = "usage@example.com"
owners = ["me@example.com"]
[recipients]
"R&D / Café" = ["a@example.com", "b@example.com"]
"チーム" = ["c@example.com"]
"#read(\\"x\\")" = ["d@example.com"]
[renamed]
"Old" = "R&D / Café"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a folder, with nothing of usagekit in the environment."""
    for name in os.environ:
        if name.startswith(("USAGEKIT", "HEADSPIN")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / FILE_NAME


def test_every_setting_is_read(file: Path) -> None:
    """What stands in the file is what the settings say, names of teams to the last character."""
    file.write_text(WHOLE)
    read = load_settings()
    assert (read.lab_name, read.timezone, read.end_date, read.price) == (
        "Lab Süd",
        "Asia/Kolkata",
        "excluded",
        1200.5,
    )
    assert read.exclude_teams == ("Default", "NA")
    assert (read.hours.start, read.hours.weekdays, read.hours.holidays) == (
        time(9, 30),
        (0, 6),
        (date(2026, 1, 26),),
    )
    assert (read.schedule.day, read.schedule.at, read.first_month) == (28, time(2, 30), "2026-02")
    assert read.mail.port == 465
    assert list(read.recipients) == ["R&D / Café", "チーム", '#read("x")']
    assert read.renamed == {"Old": "R&D / Café"}
    assert read.model_fields_set >= Settings.model_fields.keys() - {
        "token",
        "token_file",
    }  # none is left to chance


def test_defaults_need_no_file(file: Path) -> None:
    """Without a file everything has a default: mail is off, months are due on the second at six."""
    read = load_settings()
    assert not file.exists()
    assert (read.mail.enabled, read.schedule.day, read.schedule.at) == (False, 2, time(6))
    assert (read.first_month, read.renamed, read.recipients) == (None, {}, {})


def test_code_wins_over_environment_over_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting from each place; a part of a table may come from the environment while the rest is the file's."""
    file.write_text(WHOLE)
    monkeypatch.setenv("USAGEKIT_LAB_NAME", "of the environment")
    monkeypatch.setenv("USAGEKIT_PAPER", "a4")
    monkeypatch.setenv("USAGEKIT_MAIL__PASSWORD_FILE", "/run/credentials/smtp")
    monkeypatch.setenv("USAGEKIT_EXCLUDE_TEAMS", '["of the environment"]')
    read = load_settings(lab_name="of the code")
    assert (read.lab_name, read.paper, read.timezone) == ("of the code", "a4", "Asia/Kolkata")
    assert read.exclude_teams == ("of the environment",)
    assert (read.mail.host, str(read.mail.password_file)) == ("smtp.example.com", "/run/credentials/smtp")


def test_another_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be named by the environment or in code; the folder's own is not mixed in."""
    file.write_text('lab_name = "folder"\npaper = "us-letter"\n')
    (file.parent / "a.toml").write_text('lab_name = "a"\n')
    (file.parent / "b.toml").write_text('lab_name = "b"\n')
    monkeypatch.setenv("USAGEKIT_CONFIG", "a.toml")
    assert (load_settings().lab_name, load_settings().paper) == ("a", "a4")
    assert load_settings(Path("b.toml")).lab_name == "b"
    assert load_settings().lab_name == "a"


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lab_nam = 1", "lab_nam: Extra inputs"),
        ("lab_name = 1", "lab_name"),
        ('timezone = "Mars/Base"', "'Mars/Base' is not an IANA time zone"),
        ('timezone = "../etc/passwd"', "timezone"),
        ("[schedule]\nday = 29", "schedule.day"),
        ('[schedule]\nat = "06:00Z"', "lab's own zone"),
        ('[schedule]\nat = "25:00"', "schedule.at"),
        ('first_month = "2026-13"', "first_month"),
        ('first_month = ""', "first_month"),
        ('[renamed]\n"a" = "b"\n"b" = "c"', "write the newest for both"),
        ('[business_hours]\nstart = "19:00"', "end must be after start"),
        ('[business_hours]\ndays = ["Montag"]', "must be some of Mon"),
        ("price = -1", "price"),
        ("price = inf", "price"),
        ('[mail]\nhost = "https://smtp.example.com/"', "mail.host"),
        ("[mail]\nenabled = true", "needs from_address and owners"),
        ('[recipients]\n"NA" = ["nobody"]', "recipients.NA"),
        ('[recipients]\n"NA" = []', "has no address"),
        ("lab_name = 'x", FILE_NAME),
        ("x = 1\nx = 2", "Cannot overwrite"),
        ("\ufeff\x00", FILE_NAME),
    ],
)
def test_each_mistake_is_named(file: Path, text: str, named: str) -> None:
    """A wrong name, type, value or file ends in one line that names it; nothing is guessed."""
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(68)
def test_files_and_variables_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no text, a folder in place of the file, and a variable that is no JSON are named."""
    file.write_bytes(b'lab_name = "\xff"')
    with pytest.raises(SettingsError, match=FILE_NAME):
        load_settings()
    file.unlink()
    file.mkdir()
    with pytest.raises(SettingsError, match=FILE_NAME):
        load_settings()
    file.rmdir()
    monkeypatch.setenv("USAGEKIT_RECIPIENTS", "not json")
    with pytest.raises(SettingsError, match="recipients"):
        load_settings()


@pytest.mark.fault(68)
@pytest.mark.parametrize(
    ("text", "variable"),
    [
        (f'token = "{CANARY}"', TOKEN_VARIABLE),
        (f'{TOKEN_VARIABLE} = "{CANARY}"', TOKEN_VARIABLE),
        (f'[mail]\npassword = "{CANARY}"', "USAGEKIT_SMTP_PASSWORD"),
        (f'[mail.archive]\nhost = "h"\nusername = "u"\npassword = "{CANARY}"', "USAGEKIT_IMAP_PASSWORD"),
    ],
)
def test_secrets_in_the_file_are_refused(file: Path, text: str, variable: str) -> None:
    """A token or password in the file is refused with where it belongs, and not repeated."""
    file.write_text(text)
    with pytest.raises(SettingsError, match=variable) as caught:
        load_settings()
    assert CANARY not in str(caught.value)


def test_the_token_shows_itself_nowhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token comes from the environment and is in no text or dump of the settings."""
    monkeypatch.setenv(TOKEN_VARIABLE, f" {CANARY}\n")
    read = load_settings()
    assert read.secret_token() == CANARY
    assert CANARY not in f"{read!r} {read} {read.model_dump()} {read.model_dump_json()}"


def test_secret_files_are_for_their_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token's file must have mode 0600; what systemd keeps for a service may show a right of the group, no more."""
    secret = file.parent / "token"
    secret.write_text(f"{CANARY}\n")
    file.write_text('token_file = "token"')
    for mode, good in ((0o600, True), (0o400, True), (0o440, False), (0o604, False)):
        secret.chmod(mode)
        assert reads(secret) is good
        if good:
            assert load_settings().secret_token() == CANARY
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    for mode, good in ((0o440, True), (0o444, False)):
        secret.chmod(mode)
        assert reads(secret) is good
    (file.parent / "below").mkdir()
    (file.parent / "below" / "token").write_text(CANARY)
    (file.parent / "below" / "token").chmod(0o440)
    assert not reads(file.parent / "below" / "token")


def reads(path: Path) -> bool:
    """Whether a secret's file is taken; a refusal says what to do."""
    try:
        return read_secret(path, setting="token_file") == CANARY
    except SettingsError as error:
        return str(error) != f"token_file {path} can be read by others: chmod 600 {path}"


def test_the_first_file_explains_every_setting(file: Path) -> None:
    """Each setting stands in the text, as a line or a comment; with all comments of the form name = value it still loads."""
    text = first_settings(Answers())
    names = {*Settings.model_fields, *MailSettings.model_fields, *Archive.model_fields} - {"token"}
    names -= {"business_hours", "schedule", "mail", "recipients", "archive", "renamed"}  # tables
    names |= {"start", "end", "days", "holidays", "day", "at"}
    names |= {"[business_hours]", "[schedule]", "[mail]", "[mail.archive]", "[recipients]", "[renamed]"}
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    missing = {
        name for name in names if not any(line == name or line.startswith(f"{name} = ") for line in lines)
    }
    assert missing == set()
    file.write_text("\n".join(line for line in lines if re.match(r'\[|"?[A-Za-z_ ]+"? = ', line)))
    read = load_settings()
    assert read.mail.archive is not None
    assert read.model_fields_set == Settings.model_fields.keys() - {"token"}


@pytest.mark.parametrize("name", ['Lab "x" \\ [a] # b', "チーム\n", "\x7f\x00", "<script>"])
def test_the_first_file_holds_any_name(file: Path, name: str) -> None:
    """What was answered comes back from the file exactly, and nothing of it becomes another setting."""
    answers = Answers(
        name,
        "Europe/Berlin",
        mail_host="mail.example.com",
        from_address="u@example.com",
        owners=["o@example.com"],
    )
    read = write_first_settings(file, answers)
    assert load_settings() == read
    assert (read.lab_name, read.timezone, read.mail.host) == (name, "Europe/Berlin", "mail.example.com")
    assert (read.mail.owners, read.mail.enabled) == (("o@example.com",), False)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "url",
    [
        "http://example.com", "https://me:pw@example.com", "https://169.254.169.254", "http://0xa9fea9fe", "ftp://example.com", "",
        "https://example.com/?a=b",
    ],
)  # fmt: skip
def test_an_address_that_must_not_get_the_token(file: Path, url: str) -> None:
    """It is refused when settings are read, by the very check that the client makes, and by init before it is written."""
    file.write_text(f'base_url = "{url}"')
    with pytest.raises(SettingsError, match=r"base_url: ") as caught:
        load_settings()
    assert "pw" not in str(caught.value)
    assert "base_url" in problem_of("base_url", url) or not url
    file.unlink()
    with pytest.raises(SettingsError):
        write_first_settings(file, Answers(base_url=url))
    assert not file.exists()
    assert load_settings(base_url="http://127.0.0.1:8642/").base_url == "http://127.0.0.1:8642"


def test_a_wrong_answer_writes_nothing(file: Path) -> None:
    """A zone that does not exist is refused before there is a file; an existing file is never touched."""
    with pytest.raises(SettingsError, match="Mars"):
        write_first_settings(file, Answers(timezone="Mars/Base"))
    assert not file.exists()
    file.write_text("# mine")
    with pytest.raises(SettingsError, match="stays as it is"):
        write_first_settings(file, Answers())
    assert file.read_text() == "# mine"


def test_what_is_missing_is_listed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new lab lacks token, recipients and consent; with all of them nothing is listed."""
    said = " ".join(still_missing(write_first_settings(file, Answers())))
    assert all(word in said for word in (TOKEN_VARIABLE, "mail: host", "recipients", "enabled = true"))
    file.unlink()
    some = write_first_settings(file, Answers(mail_host="mail.example.com", owners=["o@example.com"]))
    assert "mail: from_address below [mail]" in still_missing(some)
    file.unlink()
    whole = replace(
        Answers(), mail_host="mail.example.com", from_address="u@example.com", owners=["o@example.com"]
    )
    said = " ".join(still_missing(write_first_settings(file, whole)))
    assert "username and password_file below [mail], if mail.example.com wants one" in said
    file.write_text(WHOLE.replace('security = "tls"', 'security = "tls"\nusername = "usage"'))
    monkeypatch.setenv(TOKEN_VARIABLE, CANARY)
    (password,) = still_missing(load_settings())
    assert "USAGEKIT_SMTP_PASSWORD" in password
    monkeypatch.setenv("USAGEKIT_SMTP_PASSWORD", CANARY)
    assert still_missing(load_settings()) == []
