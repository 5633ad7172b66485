"""A look at the mail server and the archive, as a run would use them: no mail is sent, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from usagekit.delivery.mailbox import archived
from usagekit.delivery.postman import Postman
from usagekit.errors import MailError, SettingsError
from usagekit.mail_settings import MailSettings
from usagekit.probes import Finding

_PATIENCE_SECONDS: Final = 20.0


def examine_post(mail: MailSettings) -> Iterator[Finding]:
    """Say whether the mail server, and the archive if there is one, let us in; nothing where none is set."""
    if mail.enabled or "host" in mail.model_fields_set:
        yield _server(
            mail.model_copy(update={"timeout_seconds": min(mail.timeout_seconds, _PATIENCE_SECONDS)})
        )
    if archive := mail.archive:
        try:
            archived(archive, [], timeout_seconds=_PATIENCE_SECONDS)
        except (MailError, SettingsError) as error:
            yield Finding("archive", str(error), "Mails in doubt stay so until this is mended", "fault")
        else:
            yield Finding("archive", f"{archive.host}:{archive.port} opens the folder {archive.folder!r}")


def _server(mail: MailSettings) -> Finding:
    try:
        with Postman(mail) as postman:
            limit = postman.limit()
    except (MailError, SettingsError) as error:
        return Finding("mail server", str(error), "No mail can be sent until this is mended", "fault")
    login = f"takes the login of {mail.username}" if mail.username else "wants no login so far"
    how = "unencrypted, on this machine" if mail.security == "none" else "over verified TLS"
    said = f"{mail.host}:{mail.port} {login}, {how}; mails may have {limit:,} bytes"
    return Finding("mail server", said, "No mail was sent: whether it takes ours, only a mail can tell")
