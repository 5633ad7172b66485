"""What a month of usage says: pure functions from frames to frames and values."""

from usagekit.analysis.finding import change_split, finding
from usagekit.analysis.kpis import Kpi, kpis
from usagekit.analysis.months import hours_in_month, month_name, shift_month, trailing_months, weekday_hours
from usagekit.analysis.shape import daily_hours, top_rows, weekday_hour_profile

__all__ = [
    "Kpi",
    "change_split",
    "daily_hours",
    "finding",
    "hours_in_month",
    "kpis",
    "month_name",
    "shift_month",
    "top_rows",
    "trailing_months",
    "weekday_hour_profile",
    "weekday_hours",
]
