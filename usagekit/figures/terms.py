"""What the words of the reports mean, exactly and in one line each."""

from __future__ import annotations

from typing import Final

FIGURES: Final = (
    (
        "Device hours",
        "Session time inside the month, added up over devices. {month} has {elapsed} hours in {zone}.",
    ),
    (
        "Active users",
        "People with at least one session. Such counts never add up over days, teams or devices.",
    ),
    ("Sessions", "Sessions that touch the month. A session is one use of one device."),
    ("Mean session", "Device hours × 60 / sessions, in minutes; never a mean of means."),
    ("Automation share", "Device hours of automated sessions / all device hours."),
    (
        "Change",
        "Difference to {before} / its value; in points (pp) for shares; absolute below 10 sessions or 5 h.",
    ),
    ("Usual range", "Median of the six months before ± 3 × 1.4826 × their median absolute deviation."),
    ("Devices busy", "Device hours in a weekday and hour / how often it came in the month; · is below 0.05."),
)
"""Of every report."""

TEAM: Final = (
    (
        "Idle, fading device",
        "Idle: no time now, after 5 h or three months in use. Fading: at most 25% of usual (≥ 5 h).",
    ),
    (
        "Sold out",
        "Business minutes with all devices of a model busy; main ones: two devices or more, a tenth of the hours.",
    ),
)
"""Of a team's report only."""

SESSIONS: Final = (
    ("Regular use", "From the first of two calendar weeks in a row with a session in each."),
    (
        "Effective number",
        "exp of the Shannon entropy of the hours: so many equal members would be used as evenly.",
    ),
    ("Hold hours", "Hours beyond the 95th percentile of sessions by hand over 4 h or through 0:00 to 6:00."),
    (
        "Spike of lengths",
        "Over 5% of sessions within ± 2 s of one length, three times those beside it: a timeout.",
    ),
    ("False start", "A session under 60 s. A burst is three by one user within 10 min."),
)
"""Of every report: what sessions tell."""

LAB: Final = (
    (
        "Suspect device",
        "20 sessions or more, and false starts surely (Wilson, 95%) over twice the fleet's rate.",
    ),
    (
        "Sold out",
        "Business minutes in which all devices of a model of two or more were busy; outlined hours: any minutes.",
    ),
    ("Hand-off", "A session begun by another user within 120 s after the device became free."),
    ("Roster", "All devices of the lab, also those without usage."),
    ("Calendar utilisation", "Device hours / (roster × {elapsed} hours of the month)."),
    ("Business utilisation", "Device hours inside business hours / (roster × business hours of the month)."),
    (
        "Owned, used, needed",
        "On the roster; with time in the month; the fewest that were enough in 99% of business minutes.",
    ),
    (
        "Movable automation",
        "Automated hours in business minutes in which 90% or more of their model were busy.",
    ),
    (
        "Idle device",
        "No time in the month. The API does not say since when a device exists: a new one looks idle.",
    ),
    ("Fading device", "At most 25% of the median of three months, which is 5 h or more."),
    ("Surplus twins", "Two devices of one model on one host, never busy at once in three months."),
    (
        "Showback, unused",
        "Price × hours / (roster × {elapsed} h); unused is the rest. All-in: price × hours / all hours.",
    ),
    (
        "Forecast band",
        "Least to largest hours per business day of three months × business days to come; between them the median.",
    ),
)
"""Of the lab's report only."""
