"""What an index says of itself: the manifest, its checksums, and the public files that it was made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from usagekit.engine.files import publish_text, sha256

FORMAT = 2
"""Raised when index files change their meaning: older ones are then built again."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the public store as the index saw it; ``sealed`` where usagekit wrote it."""

    path: str
    size: int
    modified_ns: int
    sha256: str
    sealed: bool

    def unchanged(self, root: Path) -> bool:
        """Whether size and time of the file are the same; the content is then taken as the same."""
        try:
            stat = (root / self.path).stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified_ns)


@dataclass(frozen=True, slots=True)
class Month:
    """One indexed events file: ``start`` to ``end`` (seconds, rounded outwards) is what its sessions cover."""

    source: Source
    file: str
    sessions: int
    start: int
    end: int
    seconds: bool
    """Times are whole seconds; else microseconds."""
    total: int
    """Sum of the whole durations, in seconds or microseconds."""
    repeated: int
    """Rows left out because a file before this one has their session_id."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that one version of the index consists of, all paths relative to the store."""

    months: tuple[Month, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)
    dimensions: dict[str, tuple[Source, str]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def version(self) -> str:
        """Changes with the content of the store, and with nothing else."""
        contents = [m.source.sha256 for m in self.months]
        contents += [f"{name}={source.sha256}" for name, (source, _) in sorted(self.dimensions.items())]
        return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:16]

    @property
    def sources(self) -> list[Source]:
        """Files of the public store that this version describes."""
        return [*(m.source for m in self.months), *(source for source, _ in self.dimensions.values())]

    @property
    def files(self) -> set[str]:
        """Index files that this version reads."""
        return {
            *(m.file for m in self.months),
            *self.codes.values(),
            *(file for _, file in self.dimensions.values()),
        }

    def damaged(self, root: Path) -> list[Path]:
        """Index files of this version that are gone or do not hold what their names say."""
        return sorted(root / file for file in self.files if not _intact(root / file))

    def save(self, path: Path) -> None:
        content = asdict(self)
        publish_text(path, json.dumps({"sha256": _digest(content), "index": content}, indent=1))

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The manifest at ``path``, or None when there is none that is whole and of this format."""
        try:
            written: dict[str, Any] = json.loads(path.read_text("utf-8"))
            raw = written["index"]
            if written["sha256"] != _digest(raw) or raw["format"] != FORMAT:
                return None
            return cls(
                months=tuple(Month(**{**m, "source": Source(**m["source"])}) for m in raw["months"]),
                codes=raw["codes"],
                dimensions={n: (Source(**s), f) for n, (s, f) in raw["dimensions"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _digest(content: Any) -> str:
    """A hash of what the JSON means, not of its spaces."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _intact(path: Path) -> bool:
    """Whether an index file has the bytes that its name says; a process reads it once for that."""
    try:
        stat = path.stat()
        return _has_its_hash(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    except OSError:
        return False


@lru_cache(maxsize=1 << 16)
def _has_its_hash(path: Path, _state: tuple[int, ...]) -> bool:
    return path.name.split(".")[-2] == sha256(path)[:16]
