"""Executors beyond this machine, by address. Only home of distributed (``pip install 'usagekit[dask]'``)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, Final

from usagekit.errors import SettingsError

_CONNECT_SECONDS: Final = 10


@contextmanager
def open_executor(address: str) -> Iterator[Executor]:
    """Connect to a cluster: ``dask://host:port`` is the scheduler of one of Dask's.

    Its workers read the snapshot and write the reports themselves: they must have the same folders at the same
    paths, the same usagekit, and one thread each (``dask worker --nthreads 1``).

    Raises
    ------
    SettingsError : the address is none of that form, nobody answers there, or distributed is not installed.
    """
    scheme, separator, place = address.partition("://")
    if scheme != "dask" or not separator or not place:
        raise SettingsError(f"--executor {address!r} is not of the form dask://host:port")
    try:
        from distributed import Client
    except ImportError:
        raise SettingsError("--executor dask://… needs distributed: pip install 'usagekit[dask]'") from None
    try:
        client: Any = Client(f"tcp://{place}", timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise SettingsError(f"no Dask scheduler answers at {place} within {_CONNECT_SECONDS} s") from error
    try:
        executor: Executor = client.get_executor()
        yield executor
    finally:
        client.close()
