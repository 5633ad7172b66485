"""How much time and room one report may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one report.

    Times are in seconds: until its kernel answers, for one cell, for all cells. Exporting may take another
    ``export_seconds``; then its process is killed. ``printed_characters`` of one cell are kept, the rest is
    cut with a mark; a report whose figures and tables exceed ``report_characters`` fails.
    """

    start_seconds: int = 60
    cell_seconds: int = 300
    report_seconds: int = 900
    export_seconds: int = 120
    printed_characters: int = 1_000_000
    report_characters: int = 50_000_000

    @property
    def worker_seconds(self) -> int:
        """When the process that makes the report is killed: two attempts to start it, the cells, the export."""
        return 2 * self.start_seconds + self.report_seconds + self.export_seconds
