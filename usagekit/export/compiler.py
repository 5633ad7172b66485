"""Typst source becomes a PDF: tagged (PDF/UA-1), from our fonts alone, without reading anything else.

Only home of the typst package.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import typst

from usagekit.errors import RenderError
from usagekit.export.blocks import Document, Notice
from usagekit.export.typst import block_source, page_source, preamble
from usagekit.figures.escape import typst_string

_FONTS: Final = (
    ("font_source_sans_pro", "files/SourceSansPro-*.ttf"),
    ("noto_cjk_sans_otc", "*.ttc"),
    ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"),
    ("matplotlib", "mpl-data/fonts/ttf/DejaVuSansMono.ttf"),
)
"""Package and files of every font. Of DejaVu only the upright one, which has the most letters."""

_NO_DATE: Final = 946_684_800
"""Second since 1970 that a PDF without a date of its own carries: 1 January 2000."""

_EMPTY_DOCUMENTS: Final = 5
"""Typst keeps what it has worked out for the next ten documents; after so many empty ones 80 MB less are kept."""

_MISSING_GLYPH: Final = "\u25a1"
_GLYPH_ERROR: Final = re.compile(r'error: PDF/UA-1 error: the text (?:contains [a-z ]+)?`"(.+?)"`')
_CODE_POINT: Final = re.compile(r"\\u\{([0-9a-f]+)\}")


def compile_pdf(document: Document) -> bytes:
    """Typeset a document; the same document always gives the same bytes.

    Characters that none of the fonts has become U+25A1, and a block that cannot be typeset becomes a notice; both
    are said by a :class:`UserWarning`.

    Raises
    ------
    RenderError : the fonts are missing, or the document cannot be typeset at all.
    """
    start = preamble(document)
    stamp = int(document.as_of.timestamp()) if document.as_of else _NO_DATE
    blocks = [block_source(block) for block in document.blocks]
    with _workshop() as press:
        try:
            pdf, missing = press.pdf(start, blocks, stamp=stamp)
        except typst.TypstError as error:
            sound = [_sound(press, start, block) for block in blocks]
            if sound == blocks:
                raise RenderError(f"the PDF cannot be typeset: {error.message}") from error
            pdf, missing = press.pdf(start, sound, stamp=stamp)
        for _ in range(_EMPTY_DOCUMENTS):
            press.pdf('#set document(title: "-")', [], stamp=_NO_DATE)
    if missing:
        names = ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip() for c in sorted(missing))
        warnings.warn(f"no font of the PDF has {names}: shown as {_MISSING_GLYPH}", stacklevel=3)
    return pdf


@dataclass(frozen=True, slots=True)
class _Press:
    """Our fonts and an empty folder, which is all that the compiler may see."""

    fonts: typst.Fonts
    root: Path

    def pdf(self, start: str, blocks: Sequence[str], *, stamp: int) -> tuple[bytes, set[str]]:
        """Typeset blocks; also tells the characters that had to be replaced."""
        body = "\n\n".join(blocks)
        missing: set[str] = set()
        while True:
            try:
                return self._compile(_without(missing, start=start, body=body), stamp), missing
            except typst.TypstError as error:
                more = self._missing(_complained(error)) - missing
                if not more:
                    raise
                missing |= more

    def _missing(self, suspects: set[str]) -> set[str]:
        """Find which of the characters no font has.

        Typst complains of a whole cluster when only its mark is missing, and of all that follows in the text of an
        SVG; so each suspect is tried alone.
        """
        if not suspects:
            return suspects
        lines = (f"#par[#{typst_string(character)};]" for character in sorted(suspects))
        page = page_source() + '\n#show: paper.with(title: "-")\n'
        try:
            self._compile(page + "\n".join(lines), _NO_DATE)
        except typst.TypstError as error:
            return _complained(error) & suspects or suspects
        return suspects

    def _compile(self, source: str, stamp: int) -> bytes:
        pdf = typst.compile(  # type: ignore[call-overload]  # its stub wants source and root of one type
            source.encode(),
            root=self.root,
            font_paths=self.fonts,
            ignore_system_fonts=True,
            format="pdf",
            pdf_standards=["ua-1"],
            timestamp=stamp,
            package_path=self.root,
            package_cache_path=self.root,
        )
        if not isinstance(pdf, bytes):
            raise TypeError("Typst gave no PDF")
        return pdf


@contextmanager
def _workshop() -> Iterator[_Press]:
    with TemporaryDirectory(prefix="usagekit-") as empty:
        yield _Press(_fonts(), Path(empty))


@cache
def _fonts() -> typst.Fonts:
    """Our fonts, read once a process from a folder of their own: their packages hold each one twice, in any order."""
    with TemporaryDirectory(prefix="usagekit-") as shelf:
        for package, pattern in _FONTS:
            spec = find_spec(package)
            homes = (spec and spec.submodule_search_locations) or ()
            found = [path for home in homes for path in sorted(Path(home).glob(pattern))]
            if not found:
                raise RenderError(f"the fonts of the PDF are missing: install the package {package}")
            for path in found:
                Path(shelf, path.name).symlink_to(path)
        return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[shelf])


def _complained(error: typst.TypstError) -> set[str]:
    """Characters beyond ASCII that Typst says it cannot show."""
    texts = (_CODE_POINT.sub(_character, text) for text in _GLYPH_ERROR.findall(error.diagnostic))
    return {character for text in texts for character in text if character < " " or character > "~"}


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _without(missing: set[str], *, start: str, body: str) -> str:
    """The source with the characters replaced: in the text of charts at once, everywhere else while it is set."""
    rules = ""
    for characters, stand_in in _stand_ins(missing):
        pattern = "".join(f"\\x{{{ord(c):x}}}" for c in sorted(characters))
        rules += f"#show regex({typst_string(f'[{pattern}]')}): {typst_string(stand_in)}\n"
        body = body.translate(dict.fromkeys(map(ord, characters), stand_in))
    return f"{rules}{start}\n\n{body}"


def _stand_ins(missing: set[str]) -> Iterator[tuple[set[str], str]]:
    """Joiners and selectors show nothing by themselves, so nothing stands in for them."""
    unseen = {c for c in missing if unicodedata.category(c) == "Cf" or "\ufe00" <= c <= "\ufe0f"}
    for characters, stand_in in ((missing - unseen, _MISSING_GLYPH), (unseen, "")):
        if characters:
            yield characters, stand_in


def _sound(press: _Press, start: str, block: str) -> str:
    """The block, or a notice where it cannot be typeset even alone."""
    # A block may begin with a heading of any level, which must not count as a skipped level here.
    above = "".join(f"#heading(level: {level})[x];" for level in range(1, 7))
    try:
        press.pdf(start, [above, block], stamp=_NO_DATE)
    except typst.TypstError as error:
        warnings.warn(f"an output cannot be printed: {error.message}", stacklevel=3)
        return block_source(Notice(f"This output cannot be printed ({error.message})."))
    return block
