"""The address of the API: which ones the token may be sent to."""

from __future__ import annotations

from usagekit.errors import SettingsError
from usagekit.hosts import is_loopback, is_metadata


def checked_url(base_url: str, *, allow_http: bool = False) -> str:
    """Scheme, host and path of an API, as the client sends to them, without a slash at the end.

    ``allow_http`` lets the token go unencrypted to other machines than this one.

    Raises
    ------
    SettingsError : it is no http or https URL, holds a user, query or fragment, is unencrypted or no API's host.
    """
    import httpx

    try:
        url = httpx.URL(base_url)  # read by the one who will send to it: no second opinion on the host
    except (httpx.InvalidURL, TypeError):
        raise SettingsError("base_url is not a URL") from None
    if not url.host or url.scheme not in ("http", "https"):
        raise SettingsError("base_url is not an http or https URL")
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("base_url must be scheme, host and path only: no user, query or fragment")
    if is_metadata(url.host):
        raise SettingsError(f"base_url names {url.host}, which is no API but the machine's own network")
    if url.scheme == "http" and not allow_http and not is_loopback(url.host):
        raise SettingsError(f"base_url would send the token unencrypted to {url.host}: use https")
    return str(url).rstrip("/")
