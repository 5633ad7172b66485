"""One connection to a mail server, and what it said to each message. The home of smtplib.

smtplib's own ``sendmail`` hides at which point a connection broke. Here the dialogue is in our hands, because
everything depends on one instant: before the final dot a message was not accepted, after it nobody can know.
"""

from __future__ import annotations

import fcntl
import os
import re
import smtplib
import socket
import ssl
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from select import select
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from usagekit.delivery.letter import short
from usagekit.errors import MailError, MailServerError
from usagekit.figures.escape import printable
from usagekit.mail_settings import MailSettings
from usagekit.report.crash import step

_MOST_DROPS: Final = 3
"""Connections that break in a row before the rest is left for later."""

_DOT: Final = b".\r\n"
_REPLY: Final = re.compile(rb"[2-5][0-9][0-9](?:[ -][^\n]*)?\r?\n")
_LONGEST_LINE, _MOST_LINES = 1001, 100


class Result(NamedTuple):
    """What became of a message: a state of the outbox, and the server's words."""

    state: str
    reason: str = ""


class _Smtp(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        return _whole_reply(self)


class _SmtpTls(smtplib.SMTP_SSL):
    def getreply(self) -> tuple[int, bytes]:
        return _whole_reply(self)


class Postman:
    """Sends messages over one connection, made when the first one is due; a context manager that says QUIT."""

    def __init__(self, mail: MailSettings) -> None:
        self._mail = mail
        self._smtp: smtplib.SMTP | None = None
        self._drops = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._smtp:
            with suppress(OSError, smtplib.SMTPException):
                self._smtp.quit()
            self._smtp.close()

    def limit(self) -> int:
        """The size (bytes) that server and settings take; connects.

        Raises
        ------
        MailError : as for :meth:`send`.
        """
        told = self._connected().esmtp_features.get("size", "")
        server = int(told) if told.isdecimal() else 0
        return min(server or self._mail.max_bytes, self._mail.max_bytes)

    def send(self, recipient: str, content: bytes, *, before_data: Callable[[], None]) -> Result:
        """Send one message to one recipient.

        ``before_data`` is called when the server has taken the recipient, before the first byte of the message.

        Returns
        -------
        ``sent``; ``refused`` for good (5xx) or ``deferred`` for now (4xx, or a connection that broke before the
        final dot); ``unknown`` where the answer to the final dot did not come.

        Raises
        ------
        MailError : there is no safe way to the server, or it does not know us: nothing at all can be sent.
        """
        smtp = self._connected()
        dotted = False
        try:
            if refusal := self._offer(smtp, recipient, len(content)):
                return refusal
            before_data()
            code, text = smtp.docmd("DATA")
            if code != 354:
                return self._declined(smtp, code, text)
            smtp.send(re.sub(rb"(?m)^\.", b"..", content))
            _arrive(smtp)
            step("mail:data-sent")
            dotted = True
            smtp.send(_DOT)
            step("mail:dot-sent")
            code, text = smtp.getreply()
        except (OSError, smtplib.SMTPException) as error:
            self._drop(smtp)
            why = printable(str(error)) or type(error).__name__
            if dotted:
                return Result(
                    "unknown", f"no answer to the whole message ({why}): it may have arrived or not"
                )
            return Result("deferred", f"the connection broke before the message was whole ({why})")
        self._drops = 0
        return self._told(smtp, code, text)

    def _offer(self, smtp: smtplib.SMTP, recipient: str, size: int) -> Result | None:
        options = [f"SIZE={size}"] if smtp.has_extn("size") else []
        code, text = smtp.mail(self._mail.sender, options)
        if code in (530, 535):
            self._drop(smtp)
            raise MailError(f"{self._mail.host} wants a login ({code}): set username and password")
        if code < 300:
            code, text = smtp.rcpt(recipient)
        return None if code < 300 else self._declined(smtp, code, text)

    def _told(self, smtp: smtplib.SMTP, code: int, text: bytes) -> Result:
        """The answer to the whole message; only its first digit counts (RFC 5321 4.3.2), so any 2yz is a promise."""
        if code < 300:
            return Result("sent", _words(code, text))
        if code >= 400:
            return self._declined(smtp, code, text)
        self._drop(smtp)
        return Result("unknown", f"{_words(code, text)} is neither yes nor no: it may have arrived or not")

    def _declined(self, smtp: smtplib.SMTP, code: int, text: bytes) -> Result:
        """What the server did not take: for good with 5yz, else for now, an answer out of place too."""
        if code < 400 or code == 421:
            self._drop(smtp)  # who knows what its next answer is about; after 421 it hangs up
        else:
            with suppress(OSError, smtplib.SMTPException):
                smtp.rset()
        return Result("refused" if code >= 500 else "deferred", _words(code, text))

    def _drop(self, smtp: smtplib.SMTP) -> None:
        smtp.close()
        self._smtp = None
        self._drops += 1

    def _connected(self) -> smtplib.SMTP:
        if self._smtp and self._smtp.sock:
            return self._smtp
        if self._drops >= _MOST_DROPS:
            raise MailError(f"{self._mail.host} broke {self._drops} connections in a row: try again later")
        self._smtp = _connect(self._mail)
        return self._smtp


def _words(code: int, text: bytes) -> str:
    return short(f"{code} {printable(text.decode('utf-8', 'replace'))}".strip(), letters=300)


def _connect(mail: MailSettings) -> smtplib.SMTP:
    """A connection that is encrypted and logged in as the settings say; MailError where it is not."""
    password = mail.password() if mail.username else None
    smtp: smtplib.SMTP | None = None
    try:
        context = ssl.create_default_context(cafile=str(mail.ca_file) if mail.ca_file else None)
        # Our domain as the name in EHLO: asking the resolver for this machine's name may take a minute.
        options: dict[str, Any] = {"local_hostname": mail.domain, "timeout": mail.timeout_seconds}
        if mail.security == "tls":
            smtp = _SmtpTls(mail.host, mail.port, context=context, **options)
        else:
            smtp = _Smtp(mail.host, mail.port, **options)
        smtp.ehlo_or_helo_if_needed()
        if mail.security == "starttls":
            smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
        if mail.username and password:
            smtp.login(mail.username, password.get_secret_value())
    except (OSError, smtplib.SMTPException, UnicodeEncodeError) as error:
        problem = _problem(error, encrypted=smtp is not None and isinstance(smtp.sock, ssl.SSLSocket))
    else:
        return smtp
    if smtp:
        smtp.close()
    # Outside of the except: smtplib's frames hold the password.
    raise MailServerError(f"no mail was sent from here on: {mail.host}:{mail.port} {problem}")


def _problem(error: Exception, *, encrypted: bool) -> str:
    if isinstance(error, ssl.SSLError):
        told = getattr(error, "verify_message", "") or error.reason
        return f"proves no identity or speaks no TLS: {told}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"refuses the login ({error.smtp_code}): check username and password"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return f"does not offer {'a login' if encrypted else 'STARTTLS or a login'}: nothing is sent in clear"
    if isinstance(error, UnicodeEncodeError):
        return "takes no username or password beyond ASCII"
    return f"cannot be used: {printable(str(error)) or type(error).__name__}"


def _arrive(smtp: smtplib.SMTP) -> None:
    """Wait until the other side has every byte, so that a connection lost on the way is no doubt yet.

    Without it the system takes a whole message at once, and the dot follows into a connection long gone.
    """
    sock = smtp.sock
    if sock is None or sys.platform != "linux":  # elsewhere such a loss is in doubt, and told
        return
    deadline = time.monotonic() + (sock.gettimeout() or 0)
    left = 1
    while left:
        left = int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        if broken := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(broken, os.strerror(broken))
        if select([sock], [], [], 0.001 if left else 0)[0]:
            raise OSError("the server hung up or spoke before the message was whole")
        if left and time.monotonic() > deadline:
            raise TimeoutError("the message was not taken in time")


def _whole_reply(smtp: Any) -> tuple[int, bytes]:
    """Read a reply of whole lines that all begin with a code; smtplib itself takes the ``25`` of a cut ``250``."""
    lines: list[bytes] = []
    try:
        if smtp.file is None:
            smtp.file = smtp.sock.makefile("rb")
        while True:
            line = smtp.file.readline(_LONGEST_LINE)
            if not _REPLY.fullmatch(line) or len(lines) == _MOST_LINES:
                raise OSError("the server's reply was cut off or is no SMTP")
            lines.append(line[4:].strip())
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)
    except (OSError, AttributeError) as error:  # no socket any more
        smtp.close()
        raise smtplib.SMTPServerDisconnected(str(error) or "the connection is closed") from None
