"""The exporters: any notebook as a self-contained HTML page or as a tagged PDF.

``jupyter nbconvert --to usagekit-html report.ipynb`` and ``--to usagekit-pdf``; in JupyterLab both stand in the
menu File > Save and Export Notebook As. Only home of nbconvert.
"""

from __future__ import annotations

from typing import Any

from nbconvert.exporters import Exporter
from nbformat import NotebookNode

from usagekit.export.document import read_document


def export_html(notebook: NotebookNode, *, name: str) -> str:
    """One HTML page that runs no script and asks for nothing; ``name`` is the title of last resort."""
    from usagekit.export.page import page_html

    return page_html(read_document(notebook, name=name))


def export_pdf(notebook: NotebookNode, *, name: str) -> bytes:
    """A PDF/UA-1 of A4 pages; ``name`` is the title of last resort.

    The same notebook gives the same bytes. Characters that no font has and outputs that cannot be typeset are
    replaced visibly, with a :class:`UserWarning`.

    Raises
    ------
    RenderError : the fonts are missing, or the document cannot be typeset at all.
    """
    from usagekit.export.compiler import compile_pdf

    return compile_pdf(read_document(notebook, name=name))


class _ReportExporter(Exporter):
    def _name(self, resources: dict[str, Any]) -> str:
        return str(resources.get("metadata", {}).get("name", ""))


class UsageKitHTMLExporter(_ReportExporter):
    """Export to the HTML of usagekit's reports."""

    export_from_notebook = "Report (HTML)"
    output_mimetype = "text/html"

    def _file_extension_default(self) -> str:
        return ".html"

    def from_notebook_node(  # type: ignore[override]  # what an exporter makes is its own
        self, nb: NotebookNode, resources: Any = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert a notebook; returns the page and the resources."""
        notebook, resources = super().from_notebook_node(nb, resources, **kw)
        return export_html(notebook, name=self._name(resources)), resources


class UsageKitPDFExporter(_ReportExporter):
    """Export to the PDF of usagekit's reports."""

    export_from_notebook = "Report (PDF)"
    output_mimetype = "application/pdf"

    def _file_extension_default(self) -> str:
        return ".pdf"

    def from_notebook_node(  # type: ignore[override]  # what an exporter makes is its own
        self, nb: NotebookNode, resources: Any = None, **kw: Any
    ) -> tuple[bytes, dict[str, Any]]:
        """Convert a notebook; returns the PDF and the resources."""
        notebook, resources = super().from_notebook_node(nb, resources, **kw)
        return export_pdf(notebook, name=self._name(resources)), resources
