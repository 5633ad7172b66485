"""E-mail addresses as settings may hold them: one form, and every other one refused with a word why."""

from __future__ import annotations

import re
from typing import Annotated

import idna
from pydantic import AfterValidator

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def mail_address(text: str) -> str:
    """An address in the form in which it goes on the wire: ASCII, the domain in lower case.

    A domain of other scripts becomes its A-labels (IDNA 2008, RFC 5891). The part before the ``@`` must be a
    dot-atom of RFC 5322: comments, quotes and characters beyond ASCII are legal somewhere and safe nowhere.

    >>> mail_address("Ana@Bücher.example")
    'Ana@xn--bcher-kva.example'

    Raises
    ------
    ValueError : it is no such address; says why.
    """
    local, at, domain = text.rpartition("@")
    if not text.isprintable() or any(c.isspace() for c in text):
        raise ValueError(f"{text!r}: an address has no spaces, line breaks or invisible characters")
    if not at or not local or not domain:
        raise ValueError(f"{text!r} is no address: write name@example.com")
    if not local.isascii():
        raise ValueError(f"{text!r}: the part before the @ must be ASCII, many mail servers take no other")
    if not _LOCAL.fullmatch(local) or len(local) > 64:
        raise ValueError(f"{text!r}: the part before the @ is malformed")
    ascii_domain = mail_domain(domain)
    if len(local) + 1 + len(ascii_domain) > 254:
        raise ValueError(f"{text[:40]!r}…: an address has at most 254 characters")
    return f"{local}@{ascii_domain}"


def mail_domain(text: str) -> str:
    """A domain in lower case and ASCII.

    >>> mail_domain("Example.COM")
    'example.com'

    Raises
    ------
    ValueError : it is no domain.
    """
    try:
        domain = text.lower() if text.isascii() else idna.encode(text.lower(), uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{text!r} is no domain: {error}") from None
    labels = domain.split(".")
    plain = all(_LABEL.fullmatch(label) for label in labels) and len(domain) <= 253
    # A last label of digits is an IP address or a slip.
    if not plain or labels[-1].isdigit() or (len(labels) == 1 and domain != "localhost"):
        raise ValueError(f"{text!r} is no domain such as example.com")
    return domain


def distinct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses, if no two of them are one mailbox to most servers.

    Raises
    ------
    ValueError : one is listed twice.
    """
    seen = set()
    for address in addresses:
        if address.lower() in seen:
            raise ValueError(f"{address} is listed twice")
        seen.add(address.lower())
    return addresses


Address = Annotated[str, AfterValidator(mail_address)]
Domain = Annotated[str, AfterValidator(mail_domain)]
Addresses = Annotated[tuple[Address, ...], AfterValidator(distinct)]
