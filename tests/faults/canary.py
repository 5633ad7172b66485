"""Looking for secrets in files: as they are, encoded, packed, and in the layers that files are made of."""

from __future__ import annotations

import base64
import email
import gzip
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
from pypdf import PdfReader
from pypdf.generic import IndirectObject, StreamObject

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{60,}={0,2}")


def forms(secret: str) -> set[bytes]:
    """The ways in which a secret may stand in bytes: plain, hex, UTF-16, percent, and base64 at any offset."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(secret).encode(), raw[::-1]}
    found |= {secret.encode("utf-16-le"), secret.encode("utf-16-be")}
    for offset in range(3):
        # Characters that depend on what stands before and after are left out.
        encoded = base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : -4]
        found |= {encoded, encoded.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def layers(content: bytes, depth: int = 4) -> Iterator[bytes]:
    """The bytes themselves, and what they hold: mails, PDF streams, gzip, zip, tables, databases, base64."""
    yield content
    yield re.sub(rb"\s|\\n", b"", content)
    if depth == 0:
        return
    for inner in _inside(content):
        yield from layers(inner, depth - 1)


def found_in(paths: Iterable[Path], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """The files in which a secret stands, in any form and layer."""
    wanted = [(secret, form) for secret in set(secrets) for form in forms(secret)]
    return [
        (path.name, secret)
        for path in paths
        for layer in layers(path.read_bytes())
        for secret, form in wanted
        if form in layer
    ]


def _inside(content: bytes) -> Iterator[bytes]:
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"%PDF":
        yield from _of_pdf(content)
    elif content[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(content))
        yield f"{table.schema.metadata} {table.to_pydict()}".encode("utf-8", "replace")
    elif content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    elif content[:16] == b"SQLite format 3\0":
        with sqlite3.connect(":memory:") as copy:
            # Its journal mode must not ask for a second file.
            copy.deserialize(content[:18] + b"\1\1" + content[20:])
            yield "\n".join(copy.iterdump()).encode("utf-8", "replace")
    elif re.match(rb"[A-Za-z-]+: ", content):
        yield from _of_mail(content)
    else:
        for encoded in _BASE64.findall(re.sub(rb"\\n", b"", content)):
            with suppress(ValueError):
                yield base64.b64decode(
                    encoded + b"=" * (-len(encoded) % 4), altchars=b"-_" if b"_" in encoded else None
                )


def _of_mail(content: bytes) -> Iterator[bytes]:
    message = email.message_from_bytes(content)
    yield "\n".join(
        f"{name}: {email.header.make_header(email.header.decode_header(value))}"
        for name, value in message.items()
    ).encode()
    for part in message.walk():
        if isinstance(decoded := part.get_payload(decode=True), bytes):
            yield decoded


def _of_pdf(content: bytes) -> Iterator[bytes]:
    reader = PdfReader(io.BytesIO(content))
    yield "\n".join(page.extract_text() for page in reader.pages).encode("utf-8", "replace")
    yield f"{reader.metadata}".encode()
    for number in range(1, int(reader.trailer["/Size"])):  # type: ignore[call-overload]
        with suppress(Exception):  # a number that is free, or a stream of fonts
            found = reader.get_object(IndirectObject(number, 0, reader))
            yield (
                found.get_data() if isinstance(found, StreamObject) else str(found).encode("utf-8", "replace")
            )


def packed_forms(secret: str) -> dict[str, bytes]:
    """One file of each kind that the search must see through, each holding the secret."""
    import pandas as pd
    import typst

    text = f"it says {secret} here".encode()
    table, database = io.BytesIO(), sqlite3.connect(":memory:")
    pd.DataFrame({"a": [secret]}).to_parquet(table, compression="zstd")
    database.execute("CREATE TABLE t (a)")
    database.execute("INSERT INTO t VALUES (?)", (secret,))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a", text)
    pdf = typst.compile(f'#set document(title: "{secret}")\n= {secret}'.encode())
    mail = b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(
        gzip.compress(text)
    )
    return {
        "plain": text,
        "hex": text.hex().encode(),
        "gzip": gzip.compress(text),
        "base64": base64.b64encode(b"x" + text),
        "base64 in lines": base64.encodebytes(text * 9),
        "base64 of zip": base64.b64encode(archive.getvalue()),
        "parquet": table.getvalue(),
        "database": database.serialize(),
        "pdf": bytes(pdf),  # type: ignore[arg-type]
        "mail": mail,
        "utf-16": text.decode().encode("utf-16"),
    }
