"""Mail: reports to their teams, a digest to the lab managers, what went wrong to the owners."""

from usagekit.delivery.gate import Verdict, gate
from usagekit.delivery.outbox import SendSummary, queue_month, resolve, send_month, status_rows
from usagekit.delivery.outbox_table import Row
from usagekit.delivery.preview import Preview, preview

__all__ = [
    "Preview",
    "Row",
    "SendSummary",
    "Verdict",
    "gate",
    "preview",
    "queue_month",
    "resolve",
    "send_month",
    "status_rows",
]
