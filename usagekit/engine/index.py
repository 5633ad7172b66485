"""The index of an event store: the same sessions as integers, which is what the engine reads.

One Parquet file a month with the codes of device, person and team, start and duration in whole seconds
(microseconds where the month has fractions), and three code tables that turn codes back into names.
The index is derived and disposable. Its manifest is replaced in one step and index files never change
once written, so a reader keeps a consistent view of the store while an import runs.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import polars as pl

from usagekit.engine.files import publish_bytes, seal_holds
from usagekit.engine.manifest import Manifest, Month, Source
from usagekit.engine.readers import read_table
from usagekit.engine.tables import DIMENSION_SCHEMAS, EVENTS_SCHEMA

CODE_KEYS = {"device": ("device_id", "hostname"), "person": ("email", "user"), "team": ("team",)}
"""Code tables and the event columns that a code stands for."""

_IDS = pl.Schema({"session_id": pl.String()})

EVENTS_ORDER = ("start_time", "device_id", "hostname", "end_time", "session_id")


class Builder:
    """Builds index files of one store, reusing what ``old`` still describes rightly."""

    def __init__(self, root: Path, directory: Path, old: Manifest | None) -> None:
        self.root = root
        self.directory = directory
        self.old = old or Manifest()
        self.codes = {name: self._load_codes(name) for name in CODE_KEYS}

    def build(self) -> Manifest:
        """Index every file of the store and return the manifest, not yet saved."""
        self.directory.mkdir(parents=True, exist_ok=True)
        known = {m.source.path: m for m in self.old.months}
        sources = [self._source(self.root / file) for file in event_files(self.root)]
        kept = {
            s.path: known[s.path]
            for s in sources
            if s.path in known and known[s.path].source.sha256 == s.sha256
        }
        repeats = self._repeats(sources) if len(kept) < len(sources) else {}
        gone = len(kept) < len(known)
        if gone or repeats or (len(kept) < len(sources) and any(m.repeated for m in kept.values())):
            # A file changed or went: names that only it used must not linger in the code tables, and what
            # counts of the other files may depend on it.
            repeats = repeats or self._repeats(sources)
            kept = {}
            self.codes = {name: _empty_codes(name) for name in CODE_KEYS}
        months = tuple(
            replace(kept[s.path], source=s) if s.path in kept else self._index(s, repeats.get(s.path))
            for s in sources
        )
        return Manifest(
            months=months,
            codes={name: self._write(table, name) for name, table in self.codes.items()},
            dimensions={name: self._dimension(name) for name in DIMENSION_SCHEMAS if self._has(name)},
        )

    def _source(self, path: Path) -> Source:
        relative = path.relative_to(self.root).as_posix()
        stat = path.stat()
        for source in self.old.sources:
            if source.path == relative and source.unchanged(self.root):
                return source
        content = path.read_bytes()
        sealed = seal_holds(content) is not None
        return Source(relative, stat.st_size, stat.st_mtime_ns, hashlib.sha256(content).hexdigest(), sealed)

    def _repeats(self, sources: list[Source]) -> dict[str, pl.Series]:
        """Session ids of each file that a file before it has already: they count once.

        An import keeps the ids of a store apart, so files that are all its own are not read for this.
        """
        if len(sources) < 2 or all(s.sealed for s in sources):
            return {}
        ids = [
            read_table(self.root / s.path, _IDS)
            .drop_nulls()
            .unique()
            .with_columns(file=pl.lit(number, pl.Int32))
            for number, s in enumerate(sources)
        ]
        again = pl.concat(ids).filter(~pl.col("session_id").is_first_distinct())
        parts = again.partition_by("file", as_dict=True).items()
        return {sources[number].path: part["session_id"] for (number,), part in parts}

    def _index(self, source: Source, repeated: pl.Series | None) -> Month:
        events = read_table(self.root / source.path, EVENTS_SCHEMA)
        left_out = 0
        if repeated is not None:
            rows = events.height
            events = events.join(repeated.to_frame(), on="session_id", how="anti", maintain_order="left")
            left_out = rows - events.height
        events = events.filter(
            pl.col("session_id").is_null() | pl.col("session_id").is_first_distinct()
        ).sort(EVENTS_ORDER, nulls_last=False)
        for name in CODE_KEYS:
            events = self._encode(events, name)
        start, end = pl.col("start_time").cast(pl.Int64), pl.col("end_time").cast(pl.Int64)
        fractions = events.select((start % 1_000_000 != 0).any() | (end % 1_000_000 != 0).any()).item()
        unit = 1 if fractions else 1_000_000
        table = events.select(
            start=start // unit,
            duration=(end - start) // unit,
            device="device_code",
            person="person_code",
            team="team_code",
            automated=pl.col("automated").fill_null(value=False),
        )
        table = table.with_columns(table[column].shrink_dtype() for column in ("start", "duration"))
        start = pl.col("start").cast(pl.Int64)
        first, last = table.select(
            start.min(), end=(start + pl.col("duration").fill_null(0).clip(0)).max()
        ).row(0)
        per_second = 1_000_000 // unit
        return Month(
            source=source,
            file=self._write(table, Path(source.path).parent.name.removeprefix("month=")),
            sessions=table.height,
            start=(first or 0) // per_second,
            end=-(-(last or 0) // per_second),
            seconds=not fractions,
            total=table.select(pl.col("duration").cast(pl.Int128).clip(0).sum()).item(),
            repeated=left_out,
        )

    def _encode(self, events: pl.DataFrame, name: str) -> pl.DataFrame:
        """Add the column ``<name>_code``, extending its code table by names not seen before."""
        keys = CODE_KEYS[name]
        some = pl.any_horizontal(pl.col(k).is_not_null() for k in keys)
        used = events.lazy().select(keys).filter(some).unique().collect()
        codes = self.codes[name]
        fresh = used.join(codes, on=keys, how="anti", nulls_equal=True).sort(keys)
        fresh = fresh.with_columns(
            pl.int_range(codes.height, codes.height + fresh.height, dtype=pl.Int32).alias("code")
        )
        self.codes[name] = pl.concat([codes, fresh.select(codes.columns)])
        coded = self.codes[name].rename({"code": f"{name}_code"})
        return events.join(coded, on=keys, how="left", nulls_equal=True, maintain_order="left")

    def _dimension(self, name: str) -> tuple[Source, str]:
        source = self._source(self.root / f"{name}.parquet")
        if (old := self.old.dimensions.get(name)) and old[0].sha256 == source.sha256:
            return source, old[1]
        return source, self._write(read_table(self.root / source.path, DIMENSION_SCHEMAS[name]), name)

    def _has(self, name: str) -> bool:
        return (self.root / f"{name}.parquet").exists()

    def _load_codes(self, name: str) -> pl.DataFrame:
        file = self.old.codes.get(name)
        return pl.read_parquet(self.root / file, glob=False) if file else _empty_codes(name)

    def _write(self, table: pl.DataFrame, name: str) -> str:
        """Write an index file under a name that its content decides, and return its path in the store."""
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd", compression_level=1, statistics=True)
        content = buffer.getvalue()
        final = self.directory / f"{name}.{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        publish_bytes(final, content)
        return final.relative_to(self.root).as_posix() if final.is_relative_to(self.root) else str(final)


def event_files(root: Path) -> list[str]:
    """Paths in the store of its event files; names that begin with a dot or ``_`` are somebody's drafts."""
    found = (root / "events").glob("month=*/*.parquet")
    return sorted(p.relative_to(root).as_posix() for p in found if p.name[0] not in "._")


def _empty_codes(name: str) -> pl.DataFrame:
    return pl.DataFrame(schema={**dict.fromkeys(CODE_KEYS[name], pl.String), "code": pl.Int32})
