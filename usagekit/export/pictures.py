"""Images: checked before they reach a page, so that one broken image cannot break a document."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

from usagekit.export.blocks import Picture

MEDIA_TYPES = ("image/svg+xml", "image/png", "image/jpeg")

_MAX_PIXELS = 60_000_000
"""Largest image that is decoded: a few kilobytes of PNG can claim gigabytes of pixels."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SVG_DROPPED = frozenset({"script", "foreignObject", "iframe", "audio", "video", "animate", "set", "handler"})

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


class PictureError(ValueError):
    """The bytes are not a whole image of the type that they claim."""


def read_picture(content: str | bytes, *, media: str, alt: str) -> Picture:
    """Check an image as a notebook stores it: PNG and JPEG as base64 text or bytes, SVG as XML.

    Raises
    ------
    PictureError : the image is damaged, too large or of a type that cannot be printed.
    """
    if media == "image/svg+xml":
        return Picture(media, _clean_svg(content), alt)
    try:
        raw = base64.b64decode(content) if isinstance(content, str) else content
    except (binascii.Error, ValueError) as error:
        raise PictureError("not base64") from error
    if media == "image/png":
        width, height = _png_size(raw)
    elif media == "image/jpeg":
        width, height = _jpeg_size(raw)
    else:
        raise PictureError(f"{media} cannot be printed")
    return Picture(media, raw, alt, width, height)


def picture_from_uri(uri: str, *, alt: str) -> Picture:
    """Read a ``data:`` URI; any other address is a :class:`PictureError`, nothing is ever fetched."""
    head, comma, body = uri.partition(",")
    if not comma or not head.lower().startswith("data:"):
        raise PictureError("not fetched")
    media, *options = head[5:].split(";")
    raw = unquote_to_bytes(body)
    if "base64" in (option.strip().lower() for option in options):
        try:
            raw = base64.b64decode(raw)
        except (binascii.Error, ValueError) as error:
            raise PictureError("not base64") from error
    return read_picture(raw, media=media.strip().lower(), alt=alt)


def data_uri(picture: Picture) -> str:
    """The image as an address that holds all of it."""
    return f"data:{picture.media};base64,{base64.b64encode(picture.content).decode()}"


def svg_text(picture: Picture) -> str:
    """The image as SVG source. Typst takes text, and bytes only as slow lists of numbers."""
    if picture.media == "image/svg+xml":
        return picture.content.decode()
    size = f'width="{picture.width:g}" height="{picture.height:g}"'
    return f'<svg xmlns="{_SVG}" {size}><image {size} href="{data_uri(picture)}"/></svg>'


def _png_size(raw: bytes) -> tuple[float, float]:
    if raw[:8] != b"\x89PNG\r\n\x1a\n" or raw[12:16] != b"IHDR":
        raise PictureError("not a PNG image")
    position, dpi, body, ended = 8, 96.0, bytearray(), False
    while position + 12 <= len(raw) and not ended:
        (length,) = struct.unpack_from(">I", raw, position)
        kind, chunk = raw[position + 4 : position + 8], raw[position + 8 : position + 8 + length]
        checksum = raw[position + 8 + length : position + 12 + length]
        if zlib.crc32(kind + chunk).to_bytes(4, "big") != checksum:
            raise PictureError("the PNG image is damaged")
        if kind == b"IDAT":
            body += chunk
        elif kind == b"pHYs" and length == 9 and chunk[8] == 1:
            dpi = int.from_bytes(chunk[:4], "big") * 0.0254 or dpi
        ended = kind == b"IEND"
        position += 12 + length
    if not ended or len(raw) < 33:
        raise PictureError("the PNG image is cut off")
    width, height, depth, colour = struct.unpack_from(">IIBB", raw, 16)
    if not 0 < width * height <= _MAX_PIXELS:
        raise PictureError(f"{width} x {height} pixels cannot be printed")
    rows = height * (1 + (width * depth * _PNG_CHANNELS.get(colour, 4) + 7) // 8)
    inflate = zlib.decompressobj()
    try:
        # An interlaced image has a few more row marks; anything above is not image data.
        got = len(inflate.decompress(bytes(body), 2 * rows + 4096))
    except zlib.error as error:
        raise PictureError("the PNG image is damaged") from error
    if got < rows:
        raise PictureError("the PNG image is cut off")
    return width * 96 / dpi, height * 96 / dpi


def _jpeg_size(raw: bytes) -> tuple[float, float]:
    if raw[:3] != b"\xff\xd8\xff" or b"\xff\xd9" not in raw[-64:]:
        raise PictureError("not a whole JPEG image")
    position = 2
    while position + 9 <= len(raw):
        marker = raw[position + 1]
        if raw[position] != 0xFF:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", raw, position + 5)
            if not 0 < width * height <= _MAX_PIXELS:
                break
            return float(width), float(height)
        position += 2 + int.from_bytes(raw[position + 2 : position + 4], "big")
    raise PictureError("not a whole JPEG image")


def _clean_svg(content: str | bytes) -> bytes:
    """Parse and write the SVG anew, without scripts, handlers and addresses outside of it."""
    raw = content.encode() if isinstance(content, str) else content
    if b"<!ENTITY" in raw:
        raise PictureError("SVG with entities cannot be printed")
    try:
        root = ElementTree.fromstring(raw)  # noqa: S314  expat fetches nothing and entities are refused
    except (ElementTree.ParseError, ValueError) as error:
        raise PictureError("the SVG image is damaged") from error
    if root.tag not in (f"{{{_SVG}}}svg", "svg"):
        raise PictureError("not an SVG image")
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _SVG_DROPPED:
                parent.remove(child)
        for name, value in list(parent.attrib.items()):
            outside = _local(name) == "href" and not value.lstrip().lower().startswith(("#", "data:image/"))
            if outside or _local(name).lower().startswith("on"):
                del parent.attrib[name]
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _local(name: object) -> str:
    return str(name).rpartition("}")[2]
