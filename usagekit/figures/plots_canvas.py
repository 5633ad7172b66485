"""Where the analyst's charts are drawn: figures and axes that notebooks show and that know their words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from matplotlib._pylab_helpers import Gcf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from usagekit.analysis.wording import count_text
from usagekit.figures.style import FAMILIES, INK, MUTED, chart_style

WIDTH: Final = 8.0
"""Width of a figure in inches; with 120 dots an inch its text is as large as a notebook's."""

_DOTS = 120
_PAPER = "#ffffff"


class Drawing(Figure):
    """A figure that says in words what it shows, wherever a notebook keeps its picture."""

    def __repr__(self) -> str:
        return self._words() or super().__repr__()

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # Only the alternative text: the picture itself comes in the formats that the analyst has chosen.
        about = {"alt": self._words()}
        return {}, {"image/png": about, "image/svg+xml": about}

    def _words(self) -> str:
        return " ".join(filter(None, map(alt_text, self.axes)))


class Panel(Axes):
    """Axes whose last word in a cell is the picture, not ``<Axes: title=…>``."""

    def _ipython_display_(self) -> None:
        figure = self.get_figure(root=True)
        # The notebook shows an open figure by itself when the cell ends, and closes it.
        if figure is not None and all(m.canvas.figure is not figure for m in Gcf.get_all_fig_managers()):
            from IPython.display import display

            display(figure)  # type: ignore[no-untyped-call]


def alt_text(axes: Axes) -> str:
    """What a chart of :mod:`usagekit.figures.plots` shows, in words; empty for other axes.

    Several panels have one text, on the first. Notebooks keep it as the picture's alternative text.
    """
    return str(axes.get_label())


@contextmanager
def sheet(height: float, *, ax: Axes | None) -> Iterator[Any]:
    """A place to draw: the axes given, else a new figure of ``height`` inches; our style while it lasts.

    The figure is pyplot's, because that is how a notebook, plt.show() and plt.close() find one. It is opened
    before our style: the first figure sets up a notebook's display, and that must outlast the style.
    """
    from matplotlib import pyplot as plt

    place: Any = ax or plt.figure(
        FigureClass=Drawing, figsize=(WIDTH, height), dpi=_DOTS, facecolor=_PAPER, layout="constrained"
    )
    try:
        with chart_style():
            yield place
    except BaseException:
        if ax is None:  # half a chart must not be shown
            plt.close(place)
        raise


def panels(place: Any, count: int, *, across: bool = False) -> list[Axes]:
    """Empty axes for ``count`` metrics in a sheet, below or beside each other."""
    found = [place]
    if not isinstance(place, Axes):
        rows, columns = (1, count) if across else (count, 1)
        look: Any = {"squeeze": False, "subplot_kw": {"axes_class": Panel}}
        found = list(place.subplots(rows, columns, sharex=not across, sharey=across, **look).flat)
    for panel in found:
        _plain(panel)
    return found


def dress(found: list[Axes], *, title: str, corner: str, caption: str, alt: str) -> None:
    """Write the title above the first panel, the caption below the last one, and ``corner`` at the right."""
    first, figure = found[0], found[0].get_figure(root=True)
    beside = len(found) > 1 and found[0].get_position().y0 == found[1].get_position().y0
    low, right = (first, found[-1]) if beside else (found[-1], first)
    ours = isinstance(figure, Drawing)
    inches = WIDTH if ours or figure is None else first.get_window_extent().width / figure.dpi
    first.set_label(alt)
    first.set_title(_wrapped(title, inches * 10), loc="left", fontsize=11, color=INK, pad=9)
    right.set_title(corner, loc="right", fontsize=8, color=MUTED, pad=9)
    below = "\n".join(filter(None, [low.get_xlabel(), _wrapped(caption, inches * 18)]))
    low.set_xlabel(below, loc="left", fontsize=8, color=MUTED, labelpad=6, linespacing=1.4)
    for axes in found:
        _literal(axes)
    if not beside and isinstance(figure, Drawing):
        figure.align_ylabels(found)
    _flush(first, right, low)


def number_axis(axis: Any, *, top: float, most: int = 5) -> None:
    """Ticks of an axis of numbers: few, round, grouped by narrow spaces."""
    axis.set_major_locator(MaxNLocator(most, integer=top >= most, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: count_text(value) if value == int(value) else f"{value:g}")
    )


def empty(axes: Axes, words: str) -> None:
    """Axes that say why there is nothing to see."""
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=11, color=MUTED, wrap=True)


def _plain(axes: Axes) -> None:
    # Ticks are made when drawing, long after our style has gone: they are told here.
    look: Any = {
        "labelfontfamily": list(FAMILIES),
        "labelsize": 8,
        "labelcolor": MUTED,
        "length": 0,
        "pad": 4,
    }
    axes.tick_params(axis="both", which="both", **look)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.set_axisbelow(True)


def _flush(first: Axes, right: Axes, low: Axes) -> None:
    """Let title and caption begin, and the corner end, at the edges of what is drawn, not of the axes."""
    figure: Any = first.get_figure(root=True)
    figure.draw_without_rendering()
    box: Any = first.get_window_extent()
    drawn: Any = first.get_tightbbox()
    start, end = min(drawn.x0, box.x0), box.x1
    if isinstance(figure, Drawing):
        margin = 0.06 * figure.dpi
        start, end = margin, figure.bbox.width - margin
    for text, axes, place in (
        (first._left_title, first, start),  # type: ignore[attr-defined]
        (low.xaxis.label, low, start),
        (right._right_title, right, end),  # type: ignore[attr-defined]
    ):
        around: Any = axes.get_window_extent()
        text.set_x((place - around.x0) / around.width)


def _literal(axes: Axes) -> None:
    """Names are no mathematics, in our fonts, also where the axes' own texts are older than our style."""
    titles = [axes.title, axes._left_title, axes._right_title]  # type: ignore[attr-defined]
    labels = [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    for text in titles + labels:
        text.set_parse_math(False)
        text.set_fontfamily(list(FAMILIES))


def _wrapped(text: str, characters: float) -> str:
    return "\n".join(textwrap.wrap(text, max(int(characters), 20)))
