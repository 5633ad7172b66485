"""The one way by which text becomes Typst source: as a string literal, never as code."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_ESCAPES = str.maketrans(
    {c: f"\\u{{{c:x}}}" for c in _CONTROLS}
    | {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


def typst_string(text: str) -> str:
    r"""Write any text as a Typst string literal, quotes included; nothing in it can end the string or run.

    What no document can hold (lone surrogates) becomes U+FFFD.

    >>> print(typst_string('#read("x")\\'))
    "#read(\"x\")\\"
    """
    # Strings from JSON may carry half of a surrogate pair, which no UTF-8 file can.
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return f'"{whole.translate(_ESCAPES)}"'


def typst_json(value: Any) -> str:
    """Write plain values as a Typst expression that reads them back: ``json(bytes("…"))``.

    Control characters in strings are made visible by :func:`printable` first.

    Raises
    ------
    ValueError : a number is not finite; a missing value is None.
    """
    return f"json(bytes({typst_string(json.dumps(_printable(value), ensure_ascii=False, allow_nan=False))}))"


def printable(text: str) -> str:
    r"""Text that can be shown: line breaks and tabs as spaces, what has no glyph as U+FFFD.

    >>> printable("a\nb\x00")
    'a b�'
    """
    if text.isprintable():
        return text
    return "".join(" " if c in "\t\n\r\u2028\u2029" else "\ufffd" if _unshowable(c) else c for c in text)


def shown_name(name: str) -> str:
    r"""A name as a page shows it: printable, and never invisible.

    >>> shown_name("チーム"), shown_name(" \u200b")
    ('チーム', '(no name)')
    """
    text = printable(name)
    # Z: spaces, C: format characters such as the zero-width space.
    return text if any(unicodedata.category(c)[0] not in "ZC" for c in text) else "(no name)"


def _unshowable(character: str) -> bool:
    # Noncharacters (U+FFFE, U+1FFFF, …) are category Cn; unassigned ones may get a glyph one day, they do not.
    return unicodedata.category(character) in ("Cc", "Cs") or ord(character) & 0xFFFE == 0xFFFE


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _printable(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(v) for v in value]
    return value
