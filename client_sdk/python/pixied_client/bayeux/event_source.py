"""Faye's eventsource: messages as a stream of events; all else goes by requests of its own, to any front-end."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from random import random
from typing import Any, Final, TypeAlias

from pixied_client.bayeux.limits import Timing
from pixied_client.bayeux.protocol import Protocol
from pixied_client.bayeux.request import Request
from pixied_client.bayeux.timed_sender import TimedSender
from pixied_client.errors import ClientUnknown, FieldInvalid, PixiedError

__all__ = ["EventSources"]

_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_COMMENT_INTERVAL: Final = 15.0
"""Seconds. Proxies end what is silent, and only who writes learns that nobody reads."""


class EventSources:
    """Serves the streams: the last segment of the path is the client's id.

    Args:
        protocol: knows the sessions.
        timing: when a stream counts as stalled, and when a browser comes again for one that it can't have now.
    """

    def __init__(self, protocol: Protocol, timing: Timing) -> None:
        self._protocol = protocol
        self._timing = timing

    async def serve(self, request: Request, send: _Send, headers: Sequence[tuple[str, str]]) -> None:
        """Stream a client's messages until its session is over, another holds it, or it goes."""
        client_id = request.path.rstrip("/").rpartition("/")[2]
        begun, held = asyncio.Event(), asyncio.Event()

        async def write(text: str) -> None:
            if not begun.is_set():
                begun.set()
                await send({"type": "http.response.start", "status": 200, "headers": _headers(headers)})
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        async def event(text: str) -> None:
            # JSON has no line breaks but those between tokens, which a client's own text may have.
            lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            await write("".join(f"data: {line}\n" for line in lines) + "\n")

        breathing = asyncio.create_task(self._breathe(held, write))
        sender = TimedSender(event, self._timing, lambda: _end(streaming))
        streaming = asyncio.create_task(self._protocol.stream(client_id, request, sender, held.set))
        failure: PixiedError | None = None
        try:
            await streaming
        except PixiedError as error:
            failure = error
        finally:
            breathing.cancel()
            streaming.cancel()
            await asyncio.gather(breathing, streaming, return_exceptions=True)
        if begun.is_set():
            await send({"type": "http.response.body", "body": b""})
        elif isinstance(failure, ClientUnknown | FieldInvalid):
            await _refuse(send, headers)
        else:
            await self.postpone(send, headers)

    async def postpone(self, send: _Send, headers: Sequence[tuple[str, str]]) -> None:
        """Let a browser come again for a stream that it can't have now.

        A browser never asks again for a stream that was answered with another status than 200, so that its client would
        get no more messages although its session goes on.
        """
        retry = round(1_000 * self._timing.retry * (1 + random()))  # noqa: S311 - jitter
        await send({"type": "http.response.start", "status": 200, "headers": _headers(headers)})
        await send({"type": "http.response.body", "body": f"retry: {retry}\n\n".encode()})

    async def _breathe(self, held: asyncio.Event, write: Callable[[str], Awaitable[None]]) -> None:
        # A stream that has begun can't be refused any more.
        await held.wait()
        # The first one opens the stream, on which the client waits before it uses it.
        while True:
            await write(":\r\n\r\n")
            await asyncio.sleep(_COMMENT_INTERVAL)


def _end(streaming: "asyncio.Task[None]") -> None:
    streaming.cancel()


async def _refuse(send: _Send, headers: Sequence[tuple[str, str]]) -> None:
    """Tell a browser that there is no such session, so that it does not come again."""
    raw = [*_encoded(headers), (b"cache-control", b"no-cache, no-store"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 404, "headers": raw})
    await send({"type": "http.response.body", "body": b""})


def _headers(more: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    own = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache, no-store")]
    return _encoded([*own, *more, ("x-accel-buffering", "no")])


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]
