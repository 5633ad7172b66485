"""The servers of the wire's tests serve the tests of faults too."""

from tests.wire.conftest import raw_server, served

__all__ = ["raw_server", "served"]
