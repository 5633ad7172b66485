"""Which hosts there are, judged by their names alone: no resolver is asked."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import inet_aton


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_metadata(host: str) -> bool:
    """Whether a host is of the machine's own network and never an API."""
    # Where clouds hand out credentials to whoever asks from inside.
    name = host.lower().rstrip(".")
    address = _address(name)
    if address is None:
        return name == "metadata.google.internal"
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_link_local or str(address) in ("fd00:ec2::254", "100.100.100.200")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in any form that the system's resolver takes (``0xa9fea9fe``); None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(inet_aton(host))
    except (OSError, UnicodeError):
        return None
