"""One connection of the server: nobody may dawdle, and what is no HTTP gets its answer in JSON too."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import h11

from usagekit.api.answers import error_answer
from usagekit.api.guard import head_too_long
from usagekit.api.limits import Limits

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol
else:
    H11Protocol = object  # server.py, the one home of uvicorn, joins the two


class PatientConnection(H11Protocol):
    """uvicorn's connection with a time for each request and for each piece of an answer, and a limit of number."""

    limits: Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._heard = self.loop.time()
        if len(self.connections) > self.limits.connections:
            self._make_room()
        self._watch_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        super().data_received(data)
        self._watch_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._waits_for_request_data():
            self._stop_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        # abort, not close: close would wait for this very client to take what is left.
        self._stalled = self.loop.call_later(self.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        details = {431: head_too_long(self.limits), 501: "of transfer codings only chunked is understood"}
        self._refuse(status, details.get(status, "this is no HTTP request"))

    @property
    def is_idle(self) -> bool:
        """Whether no answer is being made or sent here."""
        return self.cycle is None or self.cycle.response_complete

    def _waits_for_request_data(self) -> bool:
        """Whether a request has begun, or the first one is due, and is not all here."""
        if self.conn.their_state is h11.IDLE:
            return self.cycle is None or bool(self.conn.trailing_data[0])
        return self.conn.their_state is h11.SEND_BODY

    def _watch_request(self) -> None:
        if not self._waits_for_request_data():
            self._stop_deadline()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.request_seconds, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if self.conn.our_state is h11.SEND_BODY:
            self.cycle.keep_alive = False
        else:
            self._refuse(408, f"the request was not whole within {self.limits.request_seconds:g} seconds")

    def _refuse(self, status: int, detail: str) -> None:
        """Answer what never became a request, if its answer has not begun, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = error_answer(status, detail, headers={"Connection": "close"})
            reply = h11.Response(status_code=status, headers=answer.raw_headers)
            for event in (reply, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            if self.cycle is not None:
                # Its answer would be a second one.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self.transport.close()

    def _make_room(self) -> None:
        """Close the connection that has been silent longest; this one, when all others are busy."""
        idle = [c for c in self.connections if isinstance(c, PatientConnection) and c.is_idle]
        min(idle, key=lambda c: c._heard).transport.abort()

    def _stop(self) -> None:
        self._stop_deadline()
        if self._stalled:
            self._stalled.cancel()

    def _stop_deadline(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None
