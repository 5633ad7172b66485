"""Reading event files: what may be imported, and which rows of it are good.

Understood are the events CSV and events JSON of the API's document, and Parquet or CSV files with the
store's own columns, of the events or of a dimension table.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from usagekit.engine.tables import DIMENSION_KEYS, DIMENSION_SCHEMAS, EVENTS_SCHEMA, TIMESTAMP
from usagekit.errors import SchemaError
from usagekit.vocabulary import EVENT_CSV_HEADER

_REQUIRED = ("start_time", "device_id", "hostname")
_TIME_FORM = "%Y-%m-%d %H:%M:%S%.f%:z"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not imported: the file, its line (of a JSON or Parquet file, its row) and the reason."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The good rows of one file for the table ``name`` (events or a dimension), and the bad ones."""

    name: str
    rows: pl.DataFrame
    bad: list[BadRow]


def read_file(path: Path) -> Loaded:
    """Read one file to import.

    Raises
    ------
    SchemaError : the file is none of the kinds understood, or cannot be read as what its name says.
    """
    readers = {".json": _read_json, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise SchemaError(f"{path}: only .csv, .json and .parquet files can be imported")
    table, bad = readers[path.suffix.lower()](path)
    name = _kind(path, table.columns)
    rows, reasons = _events(table) if name == "events" else _dimension(table, name)
    bad += [BadRow(str(path), line, reason) for line, reason in reasons]
    return Loaded(name, rows, sorted(bad, key=lambda row: row.line))


def _read_csv(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
    """Read a CSV file as text columns and the column ``line``; rows that are no rows are returned as bad."""
    csv.field_size_limit(1 << 24)
    bad: list[BadRow] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, None)
            if header is None:
                raise SchemaError(f"{path} is empty: it needs a header line")
            for row in reader:
                if len(row) != len(header):
                    if row:
                        bad.append(
                            BadRow(str(path), reader.line_num, f"{len(row)} fields instead of {len(header)}")
                        )
                elif not all(field.isprintable() or _is_unicode(field) for field in row):
                    bad.append(BadRow(str(path), reader.line_num, "not UTF-8"))
                else:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            raise SchemaError(f"{path}:{reader.line_num}: {error}") from error
    if len(set(header)) < len(header):
        raise SchemaError(f"{path} names a column twice")
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in header]
    table = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String))
    if tuple(header) == EVENT_CSV_HEADER:
        table = _from_documented_csv(table)
    else:
        table = table.with_columns(pl.col(c).replace("", None) for c in header)
    return table.with_columns(line=pl.Series(lines, dtype=pl.Int64)), bad


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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


def _read_json(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
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
    texts = ("start_time", "end_time", "device_id", "hostname", "user", "email", "team")
    for number, row in enumerate(report, start=1):
        if not isinstance(row, dict):
            bad.append(BadRow(str(path), number, "not an object"))
        elif wrong := [k for k in texts if not isinstance(row.get(k), str | None)]:
            bad.append(BadRow(str(path), number, f"{wrong[0]} is not a text"))
        elif not all(_is_unicode(row.get(k) or "") for k in texts):
            bad.append(BadRow(str(path), number, "not Unicode"))
        else:
            automated = "team" in row and "email" not in row
            rows.append(
                {k: row.get(k) for k in texts} | {"automated": str(automated).lower(), "line": number}
            )
    schema = {**dict.fromkeys((*texts, "automated"), pl.String), "line": pl.Int64}
    return pl.DataFrame(rows, schema=schema), bad


def _read_parquet(path: Path) -> tuple[pl.DataFrame, list[BadRow]]:
    try:
        table = pl.read_parquet(path, hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SchemaError(f"{path} is no Parquet file: {error}") from error
    return table.with_columns(line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)), []


def _kind(path: Path, columns: Iterable[str]) -> str:
    """Name the table that a file with these columns belongs to."""
    present = set(columns) - {"line"}
    if set(_REQUIRED) <= present:
        return "events"
    for name, keys in DIMENSION_KEYS.items():
        schema = set(DIMENSION_SCHEMAS[name])
        if set(keys) <= present <= schema and (present == schema or name != "teams"):
            return name
    missing = [c for c in _REQUIRED if c not in present]
    raise SchemaError(
        f"{path} has the columns {', '.join(sorted(present))}, which are neither those of events "
        f"(at least {', '.join(_REQUIRED)}) nor those of {', '.join(DIMENSION_SCHEMAS)}",
        missing=missing,
    )


def _events(table: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Type event rows and part the good from the bad; rows without a session id get one."""
    table = table.with_columns(
        pl.lit(None, dtype=pl.String).alias(c) for c in EVENTS_SCHEMA if c not in table.columns
    )
    wrong: list[tuple[pl.Expr, str]] = []
    typed: dict[str, pl.Expr] = {}
    for column, dtype in EVENTS_SCHEMA.items():
        actual = table.schema[column]
        if dtype == TIMESTAMP:
            typed[column] = _time(column, actual)
        elif dtype == pl.Boolean and actual == pl.String:
            typed[column] = (
                pl.col(column)
                .str.to_lowercase()
                .replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
            )
        else:
            typed[column] = pl.col(column).cast(dtype, strict=False)
        wrong.append(
            (pl.col(column).is_not_null() & pl.col(f"_{column}").is_null(), f"{column} cannot be read")
        )
    wrong += [(pl.col(f"_{c}").is_null(), f"{c} is missing") for c in _REQUIRED]
    table = table.with_columns(expr.alias(f"_{c}") for c, expr in typed.items())
    table = table.with_columns(reason=pl.coalesce(pl.when(test).then(pl.lit(why)) for test, why in wrong))
    reasons = table.filter(pl.col("reason").is_not_null()).select("line", "reason").rows()
    good = table.filter(pl.col("reason").is_null()).select(pl.col(f"_{c}").alias(c) for c in EVENTS_SCHEMA)
    good = good.with_columns(pl.col("automated").fill_null(value=False))
    return good.with_columns(_session_ids(good)), reasons


def _time(column: str, actual: pl.DataType) -> pl.Expr:
    """UTC times from text (ISO 8601; without an offset it is UTC) or from any timestamp type."""
    value = pl.col(column)
    if isinstance(actual, pl.Datetime):
        aware = (
            value.dt.replace_time_zone("UTC")
            if actual.time_zone is None
            else value.dt.convert_time_zone("UTC")
        )
        return aware.cast(TIMESTAMP)
    if actual != pl.String:
        return pl.lit(None, dtype=TIMESTAMP)
    text = value.str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    text = pl.when(text.str.contains(r" .*[+-]\d\d:?\d\d$")).then(text).otherwise(text + "+00:00")
    return text.str.to_datetime(_TIME_FORM, time_unit="us", time_zone="UTC", strict=False)


def _session_ids(events: pl.DataFrame) -> pl.Series:
    """The given ids, and for rows without one an id made of its content and its count in the file.

    So two equal rows of a file stay two sessions, and the same file imported again adds none.
    """
    given = events["session_id"].to_list()
    if None not in given:
        return events["session_id"]
    seen: Counter[bytes] = Counter()
    ids = []
    content = events.drop("session_id").with_columns(pl.col("start_time", "end_time").cast(pl.Int64))
    for known, row in zip(given, content.iter_rows(), strict=True):
        if known is not None:
            ids.append(known)
            continue
        key = hashlib.sha256(json.dumps(row, ensure_ascii=False).encode()).digest()[:15]
        seen[key] += 1
        ids.append(f"{key.hex()}-{seen[key]}")
    return pl.Series("session_id", ids, dtype=pl.String)


def _dimension(table: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Rows of a dimension table; a row without its key is bad."""
    schema = DIMENSION_SCHEMAS[name]
    table = table.with_columns(
        pl.lit(None, dtype=pl.String).alias(c) for c in schema if c not in table.columns
    )
    missing = pl.coalesce(
        pl.when(pl.col(k).is_null()).then(pl.lit(f"{k} is missing")) for k in DIMENSION_KEYS[name]
    )
    table = table.with_columns(reason=missing)
    reasons = table.filter(pl.col("reason").is_not_null()).select("line", "reason").rows()
    good = table.filter(pl.col("reason").is_null())
    return good.select(pl.col(c).cast(pl.String) for c in schema), reasons
