"""The style sheet of every page of ours, reports and their site; light, for whoever needs nothing else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from markupsafe import Markup


@cache
def page_style() -> Markup:
    """The rules of ``page.css``."""
    return Markup(files(__package__).joinpath("page.css").read_text("utf-8"))  # noqa: S704  our own file
