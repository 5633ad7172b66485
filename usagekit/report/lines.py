"""What happens as JSON, an object a line on standard error, for programs that read along."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


def write_line(event: str, **facts: object) -> None:
    """Write one object, with the time in UTC."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.write(json.dumps({"time": now, "event": event} | facts, ensure_ascii=False) + "\n")
    sys.stderr.flush()


class _JsonLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().strip()
        write_line("log", month="", level=record.levelname, logger=record.name, message=message)


def log_as_json() -> None:
    """Let warnings and what libraries log be JSON lines, too, in this process."""
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def logs_as_json() -> bool:
    """Whether :func:`log_as_json` was called in this process."""
    return any(isinstance(handler, _JsonLines) for handler in logging.getLogger().handlers)
