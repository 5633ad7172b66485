"""Looking doubtful mails up in an archive by their Message-ID. The home of imaplib."""

from __future__ import annotations

import imaplib
import re
import ssl
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress

from usagekit.errors import MailServerError
from usagekit.mail_settings import Archive


def archived(archive: Archive, message_ids: Iterable[str], *, timeout_seconds: float = 60) -> set[str]:
    """Which of the messages lie in the archive's folder; the folder is opened for reading only.

    Raises
    ------
    MailServerError : the archive cannot be asked.
    """
    password = archive.password().get_secret_value()
    try:
        imap = _connect(archive, timeout_seconds)
        try:
            imap.login(archive.username, password)
            status, _ = imap.select(f'"{_quoted(_utf7(archive.folder))}"', readonly=True)
            if status == "OK":
                return {i for i in message_ids if _found(imap, i)}
            problem = f"has no folder {archive.folder!r}"
        finally:
            with suppress(OSError, imaplib.IMAP4.error):
                imap.logout()
    except ssl.SSLError as error:
        problem = f"proves no identity or speaks no TLS: {error.reason or error}"
    except imaplib.IMAP4.error as error:
        # What the server says may repeat what we said to it.
        problem = f"refuses: {str(error).replace(password, '…')}"
    except UnicodeEncodeError:
        problem = "takes no username or password beyond ASCII"
    except OSError as error:
        problem = f"cannot be reached: {error}"
    # Outside of the except: imaplib's frames hold the password.
    raise MailServerError(f"the archive {archive.host}:{archive.port} {problem}")


def _connect(archive: Archive, timeout_seconds: float) -> imaplib.IMAP4:
    context = ssl.create_default_context(cafile=str(archive.ca_file) if archive.ca_file else None)
    if archive.security == "tls":
        return imaplib.IMAP4_SSL(archive.host, archive.port, ssl_context=context, timeout=timeout_seconds)
    imap = imaplib.IMAP4(archive.host, archive.port, timeout=timeout_seconds)
    if archive.security == "starttls":
        imap.starttls(context)
    return imap


def _found(imap: imaplib.IMAP4, message_id: str) -> bool:
    status, answer = imap.uid("SEARCH", "HEADER", "Message-ID", f'"{_quoted(message_id)}"')
    if status != "OK":
        raise imaplib.IMAP4.error(f"SEARCH: {status}")
    return any(part for part in answer)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _utf7(folder: str) -> str:
    """The name of a folder as IMAP spells it: modified UTF-7 (RFC 3501 5.1.3).

    >>> _utf7("Gesendete Objekte & Entwürfe")
    'Gesendete Objekte &- Entw&APw-rfe'
    >>> _utf7("~peter/mail/台北/日本語")
    '~peter/mail/&U,BTFw-/&ZeVnLIqe-'
    """

    def shifted(run: re.Match[str]) -> str:
        text = b64encode(run[0].encode("utf-16-be")).decode().rstrip("=")
        return f"&{text.replace('/', ',')}-"

    return re.sub(r"[^ -~]+", shifted, folder.replace("&", "&-"))
