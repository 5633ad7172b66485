"""The Usage API, served from an event store: the eleven routes of the document on Starlette and uvicorn."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from usagekit.api.answers import error_answer, events_answer, usage_answer
from usagekit.api.body import read_events_body, read_query_string
from usagekit.api.openapi import OPENAPI_PATH, openapi_document
from usagekit.engine import local
from usagekit.engine.store import Store, open_store
from usagekit.errors import QueryError, SettingsError
from usagekit.query import EventsQuery, UsageQuery, split_format
from usagekit.vocabulary import EVENTS_PATH, ROUTES

_MAX_HEAD_BYTES: Final = 256 * 1024  # so that a long query or token meets our answer, not the parser's


def create_app(store_path: str | Path, *, token: str) -> Starlette:
    """The application that answers from the event store at ``store_path``.

    A request must carry ``Authorization: Bearer <token>``; only /openapi.json is open. A store that changes
    is answered from anew.

    Raises
    ------
    SettingsError
        The token is empty: a server without one would be open to everybody.
    StoreError
        There is no readable store.
    """
    if not token.strip():
        raise SettingsError("the server needs a token")
    routes = [Route(route.path, partial(_usage, by)) for by, route in ROUTES.items()]
    app = Starlette(
        routes=[*routes, Route(EVENTS_PATH, _events), Route(OPENAPI_PATH, _openapi)],
        middleware=[Middleware(_BearerAuth, token=token)],
        exception_handlers={
            QueryError: _on_query_error,
            HTTPException: _on_http_exception,
            Exception: _on_failure,
        },
    )
    app.router.redirect_slashes = False
    app.state.store = open_store(store_path)
    return app


def serve(store_path: str | Path, *, host: str = "127.0.0.1", port: int = 8642, token: str) -> None:
    """Serve an event store until interrupted. Parameters and errors as for :func:`create_app`."""
    uvicorn.Server(server_config(create_app(store_path, token=token), host=host, port=port)).run()


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """Serve an application from a thread on a free loopback port while the context lasts; gives its base URL."""
    with socket.socket() as listener:
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
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


async def _usage(by: str, request: Request) -> Response:
    dress, params = split_format(read_query_string(request))
    query = UsageQuery.from_params(by, params)

    def answer() -> Response:
        return usage_answer(local.usage(_newest_store(request), query), dress)

    return await run_in_threadpool(answer)


async def _events(request: Request) -> Response:
    for name, _ in read_query_string(request):
        raise QueryError(f"unknown parameter {name[:60]!r}: events are asked by a JSON body", parameter=name)
    dress, body = split_format((await read_events_body(request)).items())
    query = EventsQuery.from_params(dict(body))

    def answer() -> Response:
        return events_answer(local.events(_newest_store(request), query), dress)

    return await run_in_threadpool(answer)


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi_document())


def _newest_store(request: Request) -> Store:
    store: Store = request.app.state.store.refresh()
    request.app.state.store = store
    return store


class _BearerAuth:
    """Refuses every request without the token, before anything else of it is looked at."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.strip().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == OPENAPI_PATH or self._admits(scope):
            await self._app(scope, receive, send)
            return
        answer = error_answer(
            401,
            "a valid token is required, as Authorization: Bearer <token>",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await answer(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(secret.strip(), self._token)


def _on_query_error(request: Request, error: Exception) -> Response:
    return error_answer(400, str(error))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls it with nothing else
    details = {404: "there is no such route", 405: "only GET is answered here"}
    return error_answer(
        error.status_code, details.get(error.status_code, error.detail), headers=error.headers
    )


def _on_failure(request: Request, error: Exception) -> Response:
    # The traceback goes to the server's log; the answer tells nothing of the machine.
    return error_answer(500, "the server failed to answer; its log says why")
