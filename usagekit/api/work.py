"""Computations of the server: few at a time, some waiting, none for ever."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Any, Self, TypeVar

from usagekit.api.limits import Limits

T = TypeVar("T")
Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class BusyError(Exception):
    """The server has too much to do; ``retry_after_seconds`` says when to come again."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class GoneError(Exception):
    """The client has gone away before its answer was ready."""


class Work:
    """Runs jobs in threads within the limits of a server; ``rows_held`` counts those of answers being streamed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.running, thread_name_prefix="usagekit-answer")
        self._places = BoundedSemaphore(limits.running + limits.waiting)
        self.rows_held = 0
        self._lock = Lock()

    async def run(self, job: Callable[[], T], *, receive: Receive) -> T:
        """Run a job when its turn comes, and give its result.

        A thread cannot be stopped: a job given up while it runs keeps its place until it is done, so that
        there are never more than allowed.

        Raises
        ------
        BusyError : too many are waiting, or the job was not done in time.
        GoneError : ``receive`` told that the client went away; a job still waiting is dropped.
        """
        if not self._places.acquire(blocking=False):
            raise BusyError("too many questions are waiting for an answer", retry_after_seconds=1)
        future = self._pool.submit(job)
        future.add_done_callback(lambda _: self._places.release())
        answer = asyncio.wrap_future(future)
        gone = asyncio.ensure_future(_gone(receive))
        either: set[asyncio.Future[Any]] = {answer, gone}
        try:
            await asyncio.wait(
                either,
                timeout=self._limits.answer_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                return answer.result()
            if gone.done():
                raise GoneError
            raise BusyError(
                f"no answer within {self._limits.answer_seconds:g} seconds", retry_after_seconds=5
            )
        finally:
            gone.cancel()
            answer.cancel()

    def hold(self, pieces: Iterator[bytes], rows: int) -> Held:
        """Count the rows behind a streamed answer until it is freed. Raises BusyError when they are too many."""
        with self._lock:
            if self.rows_held and self.rows_held + rows > self._limits.rows_held:
                raise BusyError("too many large answers are being sent", retry_after_seconds=10)
            self.rows_held += rows
        return Held(pieces, partial(self._release, rows))

    def _release(self, rows: int) -> None:
        with self._lock:
            self.rows_held -= rows


class Held:
    """Pieces of an answer whose rows are counted until ``close``, or until nobody can ask for the pieces any more."""

    def __init__(self, pieces: Iterator[bytes], release: Callable[[], None]) -> None:
        self._pieces = pieces
        self._release = weakref.finalize(self, release)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        self._pieces = iter(())
        self._release()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
