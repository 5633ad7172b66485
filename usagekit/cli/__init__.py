"""The command line: a thin door to the package. Heavy imports wait until a command needs them.

Exit codes: 0 done, 1 some reports failed, 2 wrong usage or settings, 3 the API, the mail server or
the archive refused or is down, 4 another run holds the lock.
"""

from __future__ import annotations

import logging
import os
import sys

from usagekit.cli import numbers, post, reports, upkeep  # noqa: F401 - each adds its commands to the door
from usagekit.cli.door import app
from usagekit.errors import ApiError, MailServerError, StoreLocked, UsageKitError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line and turn errors of usagekit into one line and an exit code."""
    logging.getLogger("stamina").addHandler(logging.NullHandler())  # a retry is told when it has failed
    try:
        app()
    except UsageKitError as error:
        from usagekit.report.lines import logs_as_json, write_line
        from usagekit.report.stopping import Stopped

        codes = {ApiError: 3, MailServerError: 3, StoreLocked: 4, Stopped: 1}
        code = next((code for kind, code in codes.items() if isinstance(error, kind)), 2)
        if logs_as_json():
            write_line("error", error_name=type(error).__name__, error=str(error), exit_code=code)
        else:
            print(f"usagekit: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(code)
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:  # a path that is not there, or where we may not write
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        print(f"usagekit: {where}{error.strerror or error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
