"""Where figures stand, and what stands where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from usagekit.figures.base import Figure, bare_html, component, html
from usagekit.figures.escape import typst_json
from usagekit.period import month_name

NOT_FETCHED: Final = "could not be fetched"


def side_by_side(left: Figure, right: Figure, *, widths: tuple[float, float] = (1, 1)) -> Figure:
    """Two figures beside each other, in the ratio of ``widths``; on a phone one below the other.

    Charts made for this take ``half=True``, so that their letters keep their size.
    """
    pair = (left, right)
    content = {"figures": [{"kind": f.kind, "alt": f.alt, "content": dict(f.content)} for f in pair]}
    alt = " ".join(f.alt if f.alt.endswith(".") else f"{f.alt}." for f in pair)
    drawn = html("pair", {"figures": [(bare_html(f), float(w)) for f, w in zip(pair, widths, strict=True)]})
    shares = ", ".join(f"{float(width)}fr" for width in widths)
    source = f"#uk-pair(({shares}), [\n{left.typst}\n], [\n{right.typst}\n])"
    return Figure("pair", alt, content, drawn, source)


def group(
    head: Mapping[str, Any],
    halves: tuple[Figure, Figure],
    *,
    kind: str,
    alt: str,
    behind: Mapping[str, Any],
) -> Figure:
    """One figure in two halves, below ``head``: title, caption and notes; ``behind`` is the table of both."""
    drawn = html("group", {**head, "figures": [(bare_html(half), 1.0) for half in halves]})
    left, right = (half.typst for half in halves)
    source = f"#uk-group({typst_json(dict(head))})[\n#uk-pair((1fr, 1fr), [\n{left}\n], [\n{right}\n])\n]"
    rows = [row for half in halves for row in half.content["rows"]]
    return Figure(kind, alt, {**head, "rows": rows, "table": behind}, drawn, source)


def page_break() -> Figure:
    """What follows starts on a new page; on the screen nothing shows."""
    return component("page_break", "New page.", {})


def missing(title: str, reason: str = NOT_FETCHED) -> Figure:
    """A figure that cannot be shown says why: that is neither a zero nor a month without usage.

    >>> missing("Peak").alt
    'Peak: not available (could not be fetched).'
    """
    content = {"title": title, "reason": reason}
    return component("missing", f"{title}: not available ({reason}).", content)


def no_usage(month: str, *, what: str) -> Figure:
    """A figure of a month without usage says so; an empty drawing would look like a fault."""
    text = f"No usage in {month_name(month)}."
    return component("empty", f"{what}: {text}", {"title": what, "text": text})
