"""What may be imported, and which rows of it are good.

Understood are the events CSV and events JSON of the API's document, and Parquet or CSV files with the
store's own columns, of the events or of a dimension table.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from usagekit.engine.readers import BadRow, check_types, read_csv, read_json, read_parquet, utc
from usagekit.engine.tables import DIMENSION_KEYS, DIMENSION_SCHEMAS, EVENTS_SCHEMA, TIMESTAMP
from usagekit.errors import SchemaError

_COLUMNS = ("start_time", "end_time", "device_id", "hostname")
"""Columns that a file of events must have; others may be missing and are then null, or manual."""

_VALUES = ("start_time", "device_id", "hostname")
"""Columns that every session must have a value in."""

_TIME_FORM = "%Y-%m-%d %H:%M:%S%.f%:z"
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_READERS = {".json": read_json, ".csv": read_csv, ".parquet": read_parquet}


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
    if path.suffix.lower() not in _READERS:
        raise SchemaError(f"{path}: only .csv, .json and .parquet files can be imported")
    try:
        table, bad = _READERS[path.suffix.lower()](path)
        name = _kind(path, table.columns)
        schema = EVENTS_SCHEMA if name == "events" else DIMENSION_SCHEMAS[name]
        check_types(path, table, pl.Schema({c: t for c, t in schema.items() if t == pl.String}))
        rows, reasons = _events(table) if name == "events" else _dimension(table, name)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SchemaError(f"{path} cannot be read: {error}") from error
    bad += [BadRow(str(path), line, reason) for line, reason in reasons]
    return Loaded(name, rows, sorted(bad, key=lambda row: row.line))


def _kind(path: Path, columns: Iterable[str]) -> str:
    """Name the table that a file with these columns belongs to."""
    present = set(columns) - {"line"}
    if set(_COLUMNS) <= present:
        return "events"
    for name, schema in DIMENSION_SCHEMAS.items():
        if present == set(schema):
            return name
    missing = [c for c in _COLUMNS if c not in present]
    tables = "; ".join(f"{name} ({', '.join(schema)})" for name, schema in DIMENSION_SCHEMAS.items())
    raise SchemaError(
        f"{path} has the columns {', '.join(sorted(present))}, which are neither those of events "
        f"(at least {', '.join(_COLUMNS)}) nor all those of another table: {tables}",
        missing=missing,
    )


def _events(table: pl.DataFrame) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """Type event rows and part the good from the bad; rows without a session id get one."""
    table = table.with_columns(
        pl.lit(None, dtype=pl.String).alias(c) for c in EVENTS_SCHEMA if c not in table.columns
    )
    typed = {f"_{c}": _typed(c, table.schema[c], dtype) for c, dtype in EVENTS_SCHEMA.items()}
    wrong = [
        (pl.col(c).is_not_null() & pl.col(f"_{c}").is_null(), f"{c} cannot be read") for c in EVENTS_SCHEMA
    ]
    wrong += [(pl.col(f"_{c}").is_null(), f"{c} is missing") for c in _VALUES]
    table = table.with_columns(**typed)
    table = table.with_columns(reason=pl.coalesce(pl.when(test).then(pl.lit(why)) for test, why in wrong))
    reasons = table.filter(pl.col("reason").is_not_null()).select("line", "reason").rows()
    good = table.filter(pl.col("reason").is_null()).select(pl.col(f"_{c}").alias(c) for c in EVENTS_SCHEMA)
    good = good.with_columns(pl.col("automated").fill_null(value=False))
    return good.with_columns(_session_ids(good)), reasons


def _typed(column: str, actual: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A column as the store has it, null where that cannot be."""
    value = pl.col(column)
    if wanted == TIMESTAMP:
        time = _time(value, actual)
        return pl.when(time.is_between(_FIRST, _LAST)).then(time)
    if wanted == pl.Boolean and actual == pl.String:
        words = {"true": True, "false": False}
        return value.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    if wanted == pl.Boolean and not (actual == pl.Boolean or actual.is_integer()):
        return pl.lit(None, dtype=pl.Boolean)
    return value.cast(wanted, strict=False)


def _time(value: pl.Expr, actual: pl.DataType) -> pl.Expr:
    """UTC times from text (ISO 8601; without an offset it is UTC) or from any timestamp type."""
    if isinstance(actual, pl.Datetime):
        return utc(value, actual).cast(TIMESTAMP)
    if actual != pl.String:
        return pl.lit(None, dtype=TIMESTAMP)
    text = value.str.replace("T", " ", literal=True).str.replace(r"Z$", "+00:00")
    text = pl.when(text.str.contains(r" .*[+-]\d\d:?\d\d$")).then(text).otherwise(text + "+00:00")
    return text.str.to_datetime(_TIME_FORM, time_unit="us", time_zone="UTC", strict=False)


def _session_ids(events: pl.DataFrame) -> pl.Series:
    """The given ids, and for rows without one an id made of its content and its count in the file.

    So two equal rows of a file stay two sessions, and the same file imported again adds none. The email
    stands for its user: one who takes another name keeps the sessions, instead of having them twice.
    """
    given = events["session_id"].to_list()
    if None not in given:
        return events["session_id"]
    seen: Counter[bytes] = Counter()
    ids = []
    content = events.drop("session_id").with_columns(
        pl.col("start_time", "end_time").cast(pl.Int64),
        user=pl.when(pl.col("email").is_null()).then("user"),
    )
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
    missing = pl.coalesce(
        pl.when(pl.col(k).is_null()).then(pl.lit(f"{k} is missing")) for k in DIMENSION_KEYS[name]
    )
    table = table.with_columns(reason=missing)
    reasons = table.filter(pl.col("reason").is_not_null()).select("line", "reason").rows()
    good = table.filter(pl.col("reason").is_null())
    return good.select(pl.col(c).cast(pl.String) for c in DIMENSION_SCHEMAS[name]), reasons
