"""Debian's postfix and dovecot as a lab would run them, from folders of their own: packages postfix, dovecot-imapd, dovecot-lmtpd.

Postfix takes mail after STARTTLS and a login, files a copy of everything in an archive, and gives each mail to
dovecot over LMTP; a second port has postscreen before it, which puts every stranger off once.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.post.smtp import PASSWORD

ARCHIVE, SENDER = "archive@example.com", "usage@example.com"
COMMANDS = ("/usr/sbin/postfix", "/usr/sbin/dovecot")


def is_installed() -> bool:
    """Postfix drops rights from root to its own user, so root must start it."""
    return all(map(shutil.which, COMMANDS)) and os.geteuid() == 0


@dataclass(frozen=True)
class MailHost:
    """Where the servers listen; ``people`` are the addresses that have a mailbox."""

    folder: Path
    smtp: int
    screened: int
    imap: int
    ca_file: Path

    def refuse(self, replies: Mapping[str, str]) -> None:
        """What postfix says from now on to recipients: ``450 4.7.1 come back``; nobody else is refused."""
        (self.folder / "refused").write_text("".join(f"{to} {reply}\n" for to, reply in replies.items()))
        _postfix(self.folder, "reload")

    def log(self) -> str:
        return (self.folder / "mail.log").read_text("utf-8", "replace")


@contextmanager
def debian_mail(folder: Path, *, people: list[str], gone: list[str], limit: int) -> Iterator[MailHost]:
    """Run both; ``gone`` are addresses that postfix takes and dovecot then does not know, which bounces."""
    for place in (folder, folder / "postfix", folder / "mail"):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
    shutil.chown(folder / "mail", "nobody", "nogroup")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    (folder / "refused").touch()
    ports = _free_ports(4)
    host = MailHost(folder, ports[0], ports[1], ports[2], folder / "ca.pem")
    boxes = [*people, ARCHIVE, SENDER]
    _configure_dovecot(host, boxes, login_port=ports[3])
    _configure_postfix(host, [*boxes, *gone], login_port=ports[3], limit=limit)
    # Both end by a signal to their whole group, which must not be ours.
    dovecot = subprocess.Popen([COMMANDS[1], "-F", "-c", folder / "dovecot.conf"], start_new_session=True)
    try:
        _postfix(folder, "start")
        for port in ports:
            _wait_for(port)
        yield host
    finally:
        _postfix(folder, "stop")
        dovecot.terminate()
        dovecot.wait(20)


def _configure_dovecot(host: MailHost, boxes: list[str], *, login_port: int) -> None:
    folder = host.folder
    (folder / "users").write_text("".join(f"{box}:{{PLAIN}}{PASSWORD}::::::\n" for box in boxes))
    (folder / "users").chmod(0o644)
    (folder / "dovecot.conf").write_text(f"""
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.pem
disable_plaintext_auth = yes
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
  default_fields = uid=nobody gid=nogroup home={folder}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {host.imap}
    ssl = yes
  }}
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {login_port}
  }}
}}
""")


def _configure_postfix(host: MailHost, known: list[str], *, login_port: int, limit: int) -> None:
    folder = host.folder
    (folder / "known").write_text("".join(f"{box} x\n" for box in known))
    (folder / "postfix" / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mail.example.com
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = example.com
virtual_mailbox_maps = texthash:{folder}/known
virtual_transport = lmtp:unix:{folder}/lmtp
always_bcc = {ARCHIVE}
message_size_limit = {limit}
smtpd_tls_chain_files = {folder}/server.pem
smtpd_tls_security_level = encrypt
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{login_port}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/refused, reject_unlisted_recipient
smtpd_junk_command_limit = 10000
postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_greet_action = enforce
postscreen_pipelining_enable = yes
postscreen_cache_map = btree:{folder}/data/postscreen
""")
    inner = "\n".join(f"{name} unix - - n - 0 bounce" for name in ("bounce", "defer", "trace"))
    others = "\n".join(
        f"{name} unix - - n - - {name}"
        for name in ("proxymap", "smtp", "lmtp", "error", "discard", "local", "virtual", "verify")
    )
    (folder / "postfix" / "master.cf").write_text(f"""
127.0.0.1:{host.smtp} inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{host.screened} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
tlsproxy unix - - n - 0 tlsproxy
dnsblog unix - - n - 0 dnsblog
cleanup unix n - n - 0 cleanup
{inner}
{others}
retry unix - - n - - error
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
flush unix n - n 1000? 0 flush
postlog unix-dgram n - n - 1 postlogd
""")
    for name in ("queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")


def _postfix(folder: Path, verb: str) -> None:
    command = [COMMANDS[0], "-c", folder / "postfix", verb]
    done = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    log = folder / "mail.log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while True:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until, f"nobody listens on {port}"
        time.sleep(0.05)
