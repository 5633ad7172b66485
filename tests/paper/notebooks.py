"""Notebooks made in code, and ways to read what the exporters made of them."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbformat import NotebookNode, v4
from pypdf import PdfReader

from usagekit.export.exporters import export_html, export_pdf


def notebook(*cells: NotebookNode, **metadata: Any) -> NotebookNode:
    return v4.new_notebook(cells=list(cells), metadata=metadata)


def text(source: str, **options: Any) -> NotebookNode:
    return v4.new_markdown_cell(source, **options)


def code(*outputs: NotebookNode, tags: tuple[str, ...] = ()) -> NotebookNode:
    return v4.new_code_cell("secret_code()", outputs=list(outputs), metadata={"tags": list(tags)})


def shown(content: dict[str, Any], **metadata: Any) -> NotebookNode:
    return v4.new_output("display_data", content, metadata=metadata)


def printed(words: str, *, name: str = "stdout") -> NotebookNode:
    return v4.new_output("stream", name=name, text=words)


def figure(typst: str, *, html: str = "<p>ours</p>", kind: str = "chart") -> NotebookNode:
    about = {"kind": kind, "alt": "what it shows"}
    return shown({"application/vnd.usagekit.figure+json": about, "text/html": html, "text/vnd.typst": typst})


def marker(**facts: Any) -> NotebookNode:
    return shown({"application/vnd.usagekit.report+json": facts, "text/html": "<p>MARKER</p>"})


@cache
def executed(template: str) -> NotebookNode:
    """A template of ours, run with its own parameters, which the sample answers."""
    path = Path(__file__).parents[2] / "notebooks" / f"{template}.ipynb"
    made = nbformat.read(path, as_version=4)
    NotebookClient(made, kernel_name="python3").execute()
    return made


def page(*cells: NotebookNode, **metadata: Any) -> BeautifulSoup:
    return BeautifulSoup(export_html(notebook(*cells, **metadata), name="file"), "html.parser")


def pdf(*cells: NotebookNode, **metadata: Any) -> PdfReader:
    return PdfReader(io.BytesIO(export_pdf(notebook(*cells, **metadata), name="file")))


def words(reader: PdfReader) -> str:
    """The text of all pages with single blanks, without the soft places to break."""
    return " ".join(" ".join(p.extract_text() for p in reader.pages).replace("\u200b", "").split())


def png(width: int = 4, height: int = 3, *, pixels: bytes | None = None) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + bytes(3 * width)) * height if pixels is None else pixels
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def as_base64(content: bytes) -> str:
    return base64.encodebytes(content).decode()
