"""Everything that a report needs, imported and done once, in a process from which others are forked.

A fork copies one thread only and whatever locks the others hold, so nothing here starts a thread or makes a
ZeroMQ context.
"""

from __future__ import annotations

import gc
import io
import os
import pkgutil
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

from usagekit.errors import UsageKitError

INLINE: Final = "module://matplotlib_inline.backend_inline"

# Never matplotlib_inline.backend_inline itself: it hooks itself into the kernel that imports it, and there is none yet.
_LIBRARIES = (
    *(
        "ipykernel.kernelapp",
        "ipykernel.ipkernel",
        "ipykernel.zmqshell",
        "ipykernel.debugger",
        "tornado.queues",
    ),
    *("IPython.core.completer", "IPython.core.history", "IPython.core.magics", "IPython.core.pylabtools"),
    *(
        "numpy.random",
        "pandas",
        "pandas.io.formats.style",
        "pandas.io.parquet",
        "pyarrow.parquet",
        "pyarrow.dataset",
    ),
    *("matplotlib.pyplot", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("pandas.core.arrays.arrow.extension_types", "PIL.PngImagePlugin", "jinja2", "sqlite3", "tzdata"),
)
_OURS = (
    *("usagekit.analysis", "usagekit.figures", "usagekit.lab", "usagekit.openers", "usagekit.snapshot"),
    *("usagekit.sample_lab", "usagekit.fetch", "usagekit.api.frames"),
)


def prepare() -> dict[str, str]:
    """Import everything a report needs and load what is loaded once; gives the variables that imports have set."""
    before = set(os.environ)
    os.environ.setdefault("MPLBACKEND", INLINE)  # before matplotlib reads it: any other one shows no figures
    for name in _LIBRARIES:
        with suppress(ImportError):  # the kernel that needs it will say what is missing
            import_module(name)
    for name in _OURS:
        for module in pkgutil.iter_modules(getattr(import_module(name), "__path__", ()), f"{name}."):
            import_module(module.name)
    _rehearse()
    freeze()
    return {name: value for name, value in os.environ.items() if name not in before}


def freeze() -> None:
    """Keep what there is: the collector of a forked process would otherwise write to, and so copy, every page of it."""
    gc.collect()
    gc.freeze()


def _rehearse() -> None:
    """Draw and fill in once what every report draws and fills in: fonts are found, templates are compiled."""
    import pandas as pd

    from usagekit.figures import base, style

    with style.chart_style():
        drawing = style.canvas(20)
        axes = drawing.add_subplot()
        axes.plot([1, 2], label="a")
        axes.legend()
        axes.set_title("a")
        style.to_svg(drawing)
        drawing.savefig(io.BytesIO(), format="png")
    for template in base.environment().list_templates(extensions=["j2"]):
        base.environment().get_template(template)
    pd.DataFrame({"n": [1.0, 2.0], "k": ["x", "y"]}).groupby("k").agg(n=("n", "sum")).to_html()


@cache
def work_ahead(snapshot: str) -> None:
    """Work out once what all reports on a snapshot share; whatever is wrong with it, their kernels will say."""
    from usagekit.reading import ahead

    with suppress(UsageKitError, OSError, ValueError, LookupError, TypeError, AttributeError):
        ahead.work_ahead(Path(snapshot))
    gc.freeze()
