"""The Usage API, served from an event store: the eleven routes of the document on Starlette and uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Final, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from usagekit.api.answers import (
    StreamedAnswer,
    begin,
    error_answer,
    events_pieces,
    not_modified,
    usage_pieces,
    whole_answer,
)
from usagekit.api.body import read_events_body, read_query_string
from usagekit.api.cache import AnswerCache
from usagekit.api.connection import PatientConnection
from usagekit.api.guard import Guard
from usagekit.api.limits import Limits, check_events_size, check_usage_size
from usagekit.api.openapi import OPENAPI_PATH, openapi_document
from usagekit.api.work import BusyError, GoneError, Work
from usagekit.engine import local
from usagekit.engine.store import Store, open_store
from usagekit.errors import QueryError, SettingsError, StoreLocked
from usagekit.query import EventsQuery, UsageQuery, split_format
from usagekit.vocabulary import EVENTS_PATH, ROUTES

T = TypeVar("T")

_STORE_ATTEMPTS: Final = 4
_SHUTDOWN_SECONDS: Final = 10


def create_app(
    store_path: str | Path,
    *,
    token: str,
    allowed_hosts: Iterable[str] = (),
    limits: Limits | None = None,
) -> Starlette:
    """The application that answers from the event store at ``store_path``.

    A request must carry ``Authorization: Bearer <token>``; only /openapi.json is open. Its Host must be a
    name of this machine (localhost, 127.0.0.1, ::1) or one of ``allowed_hosts``. A store that changes is
    answered from anew.

    Raises
    ------
    SettingsError
        The token is empty: a server without one would be open to everybody.
    StoreError
        There is no readable store.
    """
    if not token.strip():
        raise SettingsError("the server needs a token")
    limits = limits or Limits()
    routes = [Route(route.path, partial(_usage, by)) for by, route in ROUTES.items()]
    app = Starlette(
        routes=[*routes, Route(EVENTS_PATH, _events), Route(OPENAPI_PATH, _openapi)],
        middleware=[Middleware(Guard, token=token, hosts=tuple(allowed_hosts), limits=limits)],
        exception_handlers={
            QueryError: _on_query_error,
            HTTPException: _on_http_exception,
            BusyError: _on_busy,
            StoreLocked: _on_locked,
            GoneError: _on_gone,
            ClientDisconnect: _on_gone,
            Exception: _on_failure,
        },
    )
    app.router.redirect_slashes = False
    app.state.store = open_store(store_path)
    app.state.limits = limits
    app.state.work = Work(limits)
    app.state.cache = AnswerCache(limits.cache_bytes)
    return app


def serve(
    store_path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8642,
    token: str,
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serve an event store until interrupted. Parameters and errors as for :func:`create_app`."""
    app = create_app(store_path, token=token, allowed_hosts=(host, *allowed_hosts))
    uvicorn.Server(server_config(app, host=host, port=port)).run()


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an application from a thread on a free loopback port while the context lasts; gives its base URL."""
    # Named as TCP, or asyncio leaves Nagle's delay on, which costs 40 ms an answer.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = server_config(app, host="127.0.0.1", port=port)
        config.log_level = "critical"
        config.configure_logging()
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def server_config(app: Starlette, *, host: str, port: int) -> uvicorn.Config:
    """How uvicorn runs the application.

    No access log: query strings name people. No proxy headers: nobody vouches for them.
    """
    limits: Limits = app.state.limits
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=type("Connection", (PatientConnection, H11Protocol), {"limits": limits}),
        ws="none",
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


async def _usage(by: str, request: Request) -> Response:
    dress, params = split_format(read_query_string(request))
    query = UsageQuery.from_params(by, params)
    cache: AnswerCache = request.app.state.cache
    work: Work = request.app.state.work
    limits: Limits = request.app.state.limits

    def at_once(store: Store) -> Response | None:
        tag = cache.tag(store.version, query, dress)
        if f'"{tag}"' in request.headers.get("if-none-match", ""):
            return not_modified(tag)
        if (body := cache.get(tag)) is not None:
            return whole_answer(body, dress, tag=tag)
        check_usage_size(store, query, limit=limits.rows)
        return None

    def compute(store: Store) -> Response:
        tag = cache.tag(store.version, query, dress)
        if (body := cache.get(tag)) is None:  # else another request computed it while this one waited
            frame = local.usage(store, query)
            body, pieces = begin(usage_pieces(frame, dress), limits.whole_bytes)
            if body is None:
                return StreamedAnswer(work.hold(pieces, frame.height), dress)
            cache.put(tag, body)
        return whole_answer(body, dress, tag=tag)

    answer = await run_in_threadpool(_on_newest_store, request, at_once)
    if answer is None:
        job = partial(_on_newest_store, request, compute)
        answer = await work.run(job, receive=request.receive)
    return answer


async def _events(request: Request) -> Response:
    for name, _ in read_query_string(request):
        raise QueryError(f"unknown parameter {name[:60]!r}: events are asked by a JSON body", parameter=name)
    dress, fields = split_format((await read_events_body(request)).items())
    query = EventsQuery.from_params(dict(fields))
    work: Work = request.app.state.work
    limits: Limits = request.app.state.limits

    def check(store: Store) -> None:
        check_events_size(store, query, limit=limits.rows)

    def compute(store: Store) -> Response:
        frame = local.events(store, query)
        body, pieces = begin(events_pieces(frame, dress), limits.whole_bytes)
        if body is None:
            return StreamedAnswer(work.hold(pieces, frame.height), dress)
        return whole_answer(body, dress)

    await run_in_threadpool(_on_newest_store, request, check)
    return await work.run(partial(_on_newest_store, request, compute), receive=request.receive)


async def _openapi(request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(openapi_document))


def _on_newest_store(request: Request, job: Callable[[Store], T]) -> T:
    """Run a job on the newest version of the store.

    The version in hand keeps its files until the one after the next is imported; then the job starts again.
    """
    for attempt in range(_STORE_ATTEMPTS):
        store: Store = request.app.state.store.refresh()
        request.app.state.store = store
        try:
            return job(store)
        except FileNotFoundError:
            if attempt == _STORE_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _on_query_error(request: Request, error: Exception) -> Response:
    return error_answer(400, str(error))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls it with nothing else
    details = {404: "there is no such route", 405: "only GET is answered here"}
    return error_answer(
        error.status_code, details.get(error.status_code, error.detail), headers=error.headers
    )


def _on_busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, BusyError)  # noqa: S101 - Starlette calls it with nothing else
    return error_answer(503, str(error), headers={"Retry-After": str(error.retry_after_seconds)})


def _on_locked(request: Request, error: Exception) -> Response:
    return error_answer(503, "the store is being changed", headers={"Retry-After": "5"})


def _on_gone(request: Request, error: Exception) -> Response:
    return error_answer(503, "the client went away")  # nobody reads it


def _on_failure(request: Request, error: Exception) -> Response:
    # The traceback goes to the server's log; the answer tells nothing of the machine.
    return error_answer(500, "the server failed to answer; its log says why")
