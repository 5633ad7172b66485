"""What every figure is: one thing in three dresses, for the screen, the page and the program."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
    plain values, ``html`` and ``typst`` are finished source.
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


def component(kind: str, alt: str, content: Mapping[str, Any]) -> Figure:
    """Dress plain values with the component ``kind`` of components.html.j2 and of components.typ."""
    return Figure(kind, alt, content, html(kind, content), f"#uk-{kind}({typst_json(dict(content))})")


def html(macro: str, content: Mapping[str, Any]) -> str:
    """One fragment that stands alone: our style sheet and a macro of components.html.j2."""
    return str(Markup("<style>{}</style>\n{}").format(_css(), getattr(_macros(), macro)(content).strip()))


def source(name: str) -> str:
    """A text file beside this module."""
    return files("usagekit.figures").joinpath(name).read_text("utf-8")


@cache
def _css() -> Markup:
    return Markup(source("components.css").strip())  # noqa: S704 - our own file


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
