"""Reading the files that others made: Parquet tables, and the CSV and JSON of sessions to import.

A reader of imports gives a table with the column ``line`` besides its own, and the rows that are no rows.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from usagekit.engine.files import seal_holds
from usagekit.errors import SchemaError, StoreError
from usagekit.values import is_unicode
from usagekit.vocabulary import EVENT_CSV_HEADER

_LARGEST_FIELD = 1 << 24


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not imported: the file, its line (of a JSON or Parquet file, its row) and the reason."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def read_table(path: Path, schema: pl.Schema) -> pl.DataFrame:
    """Read a Parquet file with exactly the columns and types of ``schema``; naive times are UTC.

    Raises SchemaError naming a missing column or one of another type, StoreError for a damaged file: one
    whose seal or whose page checksums, where it has them, do not hold.
    """
    try:
        content = path.read_bytes()
        if seal_holds(content) is False:
            raise StoreError(
                f"{path} is damaged: its bytes are not those that were written (`usagekit verify` says more)"
            )
        table = _parquet(content, columns=list(schema))
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{path} is damaged or no Parquet file: {error}") from error
    missing = [c for c in schema if c not in table.columns]
    if missing:
        raise SchemaError(f"{path} lacks the columns {', '.join(missing)}", missing=missing)
    check_types(path, table, schema)
    try:
        return table.select(_cast(table.schema[column], column, dtype) for column, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"{path} has a value that cannot be read: {error}") from error


def _parquet(content: bytes, columns: list[str] | None = None) -> pl.DataFrame:
    """Read a Parquet file with pyarrow: it checks page checksums, and fails on damage where Polars panics."""
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        if columns is not None:
            columns = [c for c in columns if c in file.schema_arrow.names]
        return pl.DataFrame(pl.from_arrow(file.read(columns=columns)))


def check_types(path: Path, table: pl.DataFrame, schema: pl.Schema) -> None:
    """Raise SchemaError for a column whose type is not that of ``schema`` in another dress."""
    texts = (pl.String, pl.Categorical, pl.Enum, pl.Binary)
    for column in [c for c in schema if c in table.columns]:
        actual, wanted = table.schema[column], schema[column]
        alike = {pl.Datetime: (pl.Datetime,), pl.Boolean: (pl.Boolean,)}.get(wanted.base_type(), texts)
        number = actual.is_integer() and wanted.base_type() is not pl.Datetime
        if not (number or actual.base_type() in (*alike, pl.Null)):
            raise SchemaError(f"{path}: the column {column} is {actual}, not {wanted}")


def _cast(actual: pl.DataType, column: str, wanted: pl.DataType) -> pl.Expr:
    if isinstance(wanted, pl.Datetime) and isinstance(actual, pl.Datetime):
        return utc(pl.col(column), actual).cast(wanted)
    return pl.col(column).cast(wanted)


def utc(value: pl.Expr, actual: pl.Datetime) -> pl.Expr:
    """A timestamp of any zone in UTC; a naive one is in UTC already."""
    if actual.time_zone is None:
        return value.dt.replace_time_zone("UTC")
    return value.dt.convert_time_zone("UTC")


def read_csv(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
    """Read a CSV file as text columns: the documented one of events, or one with a store table's columns."""
    csv.field_size_limit(_LARGEST_FIELD)
    bad: list[BadRow] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if header is None:
                raise SchemaError(f"{path} is empty: it needs a header line")
            last = reader.line_num
            for row in reader:
                first, last = last + 1, reader.line_num
                if row and (reason := _wrong_with(row, len(header))):
                    # A lone quote swallows what follows it: the reader of the list must see how much.
                    extent = f" (lines {first} to {last})" if last > first else ""
                    bad.append(BadRow(str(path), first, reason + extent))
                elif row:
                    rows.append(row)
                    lines.append(first)
        except csv.Error as error:
            raise SchemaError(f"{path}:{reader.line_num}: {error}") from error
    if not all(map(is_unicode, header)):
        raise SchemaError(f"{path} has a header that is not UTF-8")
    if len(set(header)) < len(header):
        raise SchemaError(f"{path} names a column twice")
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in header]
    table = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String))
    if tuple(header) == EVENT_CSV_HEADER:
        table = _from_documented_csv(table)
    else:
        table = table.with_columns(pl.col(c).replace("", None) for c in header)
    return table.with_columns(line=pl.Series(lines, dtype=pl.Int64)), bad


def _wrong_with(row: list[str], width: int) -> str | None:
    if len(row) != width:
        return f"{len(row)} fields instead of {width}"
    return None if all(map(is_unicode, row)) else "not UTF-8"


def _from_documented_csv(table: pl.DataFrame) -> pl.DataFrame:
    """The store's columns from the CSV of /v0/usage/events: the email ``N/A`` marks an automated row."""
    automated = pl.col("Email") == "N/A"
    filled = {c: pl.col(c).replace("", None) for c in EVENT_CSV_HEADER}
    return table.select(
        start_time=filled["Start time"],
        end_time=filled["End time"],
        device_id=filled["Device Id"],
        hostname=filled["Hostname"],
        user=pl.when(~automated).then(filled["User/Team"]),
        email=pl.when(~automated).then(filled["Email"]),
        team=pl.when(automated).then(filled["User/Team"]),
        automated=pl.when(automated).then(pl.lit("true")).otherwise(pl.lit("false")),
    )


def read_json(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
    """Read the JSON of /v0/usage/events: rows with a team instead of user and email are automated."""
    try:
        body: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{path} is not JSON: {error}") from error
    report = body.get("report") if isinstance(body, dict) else None
    if not isinstance(report, list):
        raise SchemaError(f'{path} is not an events answer: it needs {{"report": [...]}}', missing=["report"])
    bad: list[BadRow] = []
    rows: list[dict[str, object]] = []
    texts = ("session_id", "start_time", "end_time", "device_id", "hostname", "user", "email", "team")
    for number, row in enumerate(report, start=1):
        if not isinstance(row, dict):
            bad.append(BadRow(str(path), number, "not an object"))
        elif wrong := [k for k in texts if not isinstance(row.get(k), str | None)]:
            bad.append(BadRow(str(path), number, f"{wrong[0]} is not a text"))
        elif not all(is_unicode(row.get(k) or "") for k in texts):
            bad.append(BadRow(str(path), number, "not Unicode"))
        else:
            # An empty text is no value, as in CSV: both forms of a session must get the same id.
            values = {k: row.get(k) or None for k in texts}
            automated = "team" in row and values["user"] is None and values["email"] is None
            rows.append(values | {"automated": str(automated).lower(), "line": number})
    schema = {**dict.fromkeys((*texts, "automated"), pl.String), "line": pl.Int64}
    return pl.DataFrame(rows, schema=schema), bad


def read_parquet(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
    """Read a Parquet file with a store table's columns, of whatever types."""
    try:
        table = _parquet(path.read_bytes())
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, ValueError) as error:
        raise SchemaError(f"{path} is no Parquet file: {error}") from error
    return table.with_columns(line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)), []
