"""Secrets in files: only their owner may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from usagekit.errors import SettingsError


def read_secret(path: Path, *, setting: str) -> str:
    """The content of a secret's file, without white space around it; ``setting`` is the name to complain of.

    Raises
    ------
    SettingsError : the file cannot be read, can be read by others, is empty or is no text.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{setting} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{setting} {path} is not UTF-8 text") from None
    # systemd lets the service's user in by an access list, which shows as rights of the group.
    others = stat.S_IRWXO if _is_credential(path) else stat.S_IRWXG | stat.S_IRWXO
    if mode & others:
        raise SettingsError(f"{setting} {path} can be read by others: chmod 600 {path}")
    if not text:
        raise SettingsError(f"{setting} {path} is empty")
    return text


def _is_credential(path: Path) -> bool:
    """Whether systemd keeps the file for this service alone (LoadCredential=)."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.resolve().parent == Path(directory or "").resolve()
