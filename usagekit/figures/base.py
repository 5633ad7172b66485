"""What every figure is: one thing in three dresses, for the screen, the page and the program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.environment import TemplateModule
from markupsafe import Markup

from usagekit.figures.escape import printable, typst_json

FIGURE_MIME: Final = "application/vnd.usagekit.figure+json"
TYPST_MIME: Final = "text/vnd.typst"

_shown: set[str] = set()


@dataclass(frozen=True, slots=True, repr=False)
class Figure:
    """A figure or table of a report; Jupyter shows it, the exporters read its MIME bundle.

    ``kind`` names the component, ``alt`` says what it shows in words, ``content`` is what was drawn as
    plain values, ``html`` and ``typst`` are finished source. ``content["table"]``, where there is one, holds the
    numbers behind it: ``name``, ``columns`` (with units) and ``rows`` (unrounded, None is missing).
    """

    kind: str
    alt: str
    content: Mapping[str, Any]
    html: str
    typst: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        _shown.add(hashlib.sha256(self.typst.encode()).hexdigest())
        return {
            FIGURE_MIME: {"kind": self.kind, "alt": self.alt, "content": dict(self.content)},
            "text/html": self.html,
            TYPST_MIME: self.typst,
        }


def shown_count() -> int:
    """How many different figures this kernel has shown; running a cell again does not count twice."""
    return len(_shown)


def component(
    kind: str, alt: str, content: Mapping[str, Any], *, table: Mapping[str, Any] | None = None
) -> Figure:
    """Dress plain values with the component ``kind`` of components.html.j2 and of components.typ."""
    whole = content if table is None else {**content, "table": table}
    return Figure(kind, alt, whole, html(kind, content), f"#uk-{kind}({typst_json(dict(content))})")


def tables(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every table behind a figure, given the figure's content; those of figures side by side too."""
    if "table" in content:
        yield content["table"]
    for inner in content.get("figures", ()):
        yield from tables(inner["content"])


def html(macro: str, content: Mapping[str, Any]) -> str:
    """One fragment that stands alone: our style sheet and a macro of components.html.j2."""
    return _style() + str(getattr(_macros(), macro)(content)).strip()


def bare_html(figure: Figure) -> Markup:
    """A figure's HTML without the style sheet, for a figure that holds others."""
    return Markup(figure.html.removeprefix(_style()))  # noqa: S704 - html() wrote it


def source(name: str) -> str:
    """A text file beside this module."""
    return files("usagekit.figures").joinpath(name).read_text("utf-8")


@cache
def _style() -> str:
    return f"<style>{source('components.css').strip()}</style>\n"


@cache
def environment() -> Environment:
    """How every template of ours is filled: escaped, with no value missing, and text made printable."""
    return Environment(
        loader=PackageLoader("usagekit.figures", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )


@cache
def _macros() -> TemplateModule:
    return environment().get_template("components.html.j2").module
