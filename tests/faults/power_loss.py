"""A simulated power cut: what was never synced may be lost, in any mixture.

An import runs once while its syncs, renames, removals and new folders are written down. For a cut after any
of them a store is then built as a disk could hold it. An entry of a folder is sure only after that folder was
synced; of the others any subset has reached the disk. Bytes are sure only after their file was synced; other
files are empty, cut or whole. A rename is done or not done, as every journalling file system has it; nothing
is assumed of the order of unsynced steps.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

FOLDER = -1


@dataclass(frozen=True)
class Step:
    """One change of folders (``make``, ``move``, ``drop``) or one sync (``keep`` a file, ``hold`` a folder)."""

    kind: str
    path: Path
    inode: int = FOLDER
    target: Path | None = None
    content: bytes = b""

    @property
    def folders(self) -> set[Path]:
        return {p.parent for p in (self.path, self.target) if p is not None}


@dataclass
class Recorder:
    """Writes down what happens below ``root``."""

    root: Path
    steps: list[Step] = field(default_factory=list)
    seen: dict[Path, int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    begun: int = 0
    """Steps that only say what was there before."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs; all that was there before counts as synced."""
        self.seen = self._tree()
        for path, inode in self.seen.items():
            self.steps.append(Step("make", path, inode))
            if inode != FOLDER:
                self.steps.append(Step("keep", path, inode, content=path.read_bytes()))
        self.steps += [Step("hold", p) for p in [self.root, *self.seen] if p.is_dir()]
        self.begun = len(self.steps)
        patches = [
            mock.patch.object(os, "fsync", self._syncing(os.fsync)),
            mock.patch.object(Path, "replace", self._moving(Path.replace)),
            *(
                mock.patch.object(Path, name, self._watching(getattr(Path, name)))
                for name in ("unlink", "mkdir")
            ),
            mock.patch.object(shutil, "rmtree", self._watching(shutil.rmtree)),
        ]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()
            self._look()

    def _tree(self) -> dict[Path, int]:
        paths = sorted(p for p in self.root.rglob("*") if p.name != ".lock")
        return {p: FOLDER if p.is_dir() else p.stat().st_ino for p in paths}

    def _look(self) -> None:
        """Note what is new and gone since the last look."""
        now = self._tree()
        gone = [p for p in self.seen if now.get(p) != self.seen[p]]
        self.steps += [Step("drop", p) for p in reversed(gone)]
        self.steps += [Step("make", p, inode) for p, inode in now.items() if self.seen.get(p) != inode]
        for path, inode in now.items():
            if inode != FOLDER:
                self.contents[inode] = path.read_bytes()
        self.seen = now

    def _watching(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            self._look()
            try:
                return do(*args, **options)
            finally:
                self._look()

        return wrapped

    def _moving(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Path, target: Path) -> Any:
            self._look()
            moved = do(path, target)
            if path in self.seen:
                self.steps.append(Step("move", path, self.seen[path], Path(target)))
                self.seen[Path(target)] = self.seen.pop(path)
            self._look()
            return moved

        return wrapped

    def _syncing(self, do: Callable[[int], None]) -> Callable[[int], None]:
        def wrapped(descriptor: int) -> None:
            self._look()
            do(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_dir():
                self.steps.append(Step("hold", path))
            elif path in self.seen:
                self.steps.append(Step("keep", path, self.seen[path], content=path.read_bytes()))

        return wrapped

    def rebuild(self, count: int, target: Path, dice: random.Random | None = None) -> None:
        """Build what a disk may hold when the power goes after ``count`` steps.

        Without dice nothing that was not synced has reached it.
        """
        done = self.steps[:count]
        entries: dict[Path, int] = {}
        for number, step in enumerate(done):
            if step.kind in ("keep", "hold"):
                continue
            is_sure = any(s.kind == "hold" and s.path in step.folders for s in done[number:])
            if is_sure or (dice and dice.random() < 0.5):
                _apply(step, entries)
        kept = {s.inode: s.content for s in done if s.kind == "keep"}
        target.mkdir()
        for path, inode in sorted(entries.items()):
            place = target / path.relative_to(self.root)
            if not place.parent.is_dir():
                continue  # a folder that never reached the disk takes its files with it
            if inode == FOLDER:
                place.mkdir()
            elif inode in kept:
                place.write_bytes(kept[inode])
            else:
                whole = self.contents.get(inode, b"")
                place.write_bytes(whole[: dice.choice([0, len(whole) // 2, len(whole)]) if dice else 0])


def _apply(step: Step, entries: dict[Path, int]) -> None:
    if step.kind == "make":
        entries[step.path] = step.inode
    elif step.kind == "drop":
        entries.pop(step.path, None)
    elif step.path in entries and step.target is not None:
        entries[step.target] = entries.pop(step.path)
