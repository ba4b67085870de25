"""WebSockets: requests and replies in both directions, and messages as they come while a connect is held."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from pixied_client.bayeux.budget import Budgets
from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.limits import Limits, Timing
from pixied_client.bayeux.message import BayeuxMessage, encoded, parsed
from pixied_client.bayeux.origins import Origins
from pixied_client.bayeux.protocol import CONNECT, HANDSHAKE, Protocol
from pixied_client.bayeux.refusal import Refusal
from pixied_client.bayeux.request import Request, Scope
from pixied_client.bayeux.timed_sender import TimedSender
from pixied_client.bayeux.transports import Transports

__all__ = ["SocketTransport"]

_log = logging.getLogger("pixied_client.bayeux")

_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_GOING_AWAY: Final = 1001
_POLICY: Final = 1008
_TOO_LARGE: Final = 1009
_TRY_LATER: Final = 1013


class SocketTransport:
    """Serves WebSockets.

    Args:
        protocol: answers messages.
        origins: which pages may open one.
        transports: whether anyone may.
        budgets: how much may come from whom.
        limits: how large a message may be, and how many clients one may serve.
        timing: when one counts as idle or slow.
    """

    def __init__(
        self,
        protocol: Protocol,
        origins: Origins,
        transports: Transports,
        budgets: Budgets,
        limits: Limits,
        timing: Timing,
    ) -> None:
        self._protocol = protocol
        self._origins = origins
        self._transports = transports
        self._budgets = budgets
        self._limits = limits
        self._timing = timing
        self._open: set[_Socket] = set()

    async def serve(self, scope: Scope, receive: _Receive, send: _Send) -> None:
        """Serve one socket to its end."""
        request = Request.of(scope)
        await receive()  # `websocket.connect`
        if not self._origins.admits(request) or "websocket" not in self._transports:
            await send({"type": "websocket.close", "code": _POLICY})
            return
        # A browser that asks for subprotocols closes a socket that gets none of them.
        protocols = scope.get("subprotocols") or [None]
        await send({"type": "websocket.accept", "subprotocol": protocols[0]})
        socket = _Socket(self._protocol, request, receive, send, self._budgets, self._limits, self._timing)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)

    def drain(self) -> None:
        """Close all sockets, once the connects that they hold are answered."""
        for socket in self._open:
            socket.end(_GOING_AWAY)


class _Socket:
    """One WebSocket."""

    def __init__(
        self,
        protocol: Protocol,
        request: Request,
        receive: _Receive,
        send: _Send,
        budgets: Budgets,
        limits: Limits,
        timing: Timing,
    ) -> None:
        self._protocol = protocol
        self._budgets = budgets
        self._budget = budgets.of_socket()
        self._request = request
        self._receive = receive
        self._send = send
        self._limits = limits
        self._timing = timing
        self._sender = TimedSender(self._write, timing, lambda: self._cut(_TRY_LATER))
        self._holds: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[Any] | None = None
        self._code: int | None = None

    async def run(self) -> None:
        """Read and answer until the other side goes or this side has a reason to."""
        self._main = asyncio.create_task(self._read())
        try:
            await asyncio.wait([self._main])
            if not self._main.cancelled():
                self._main.result()
        finally:
            self._main.cancel()
            holds = list(self._holds)
            if self._code != _GOING_AWAY:
                for hold in holds:
                    hold.cancel()
            await asyncio.gather(self._main, *holds, return_exceptions=True)
            if self._code is not None:
                with contextlib.suppress(OSError, RuntimeError):  # it may be closed already
                    await self._send({"type": "websocket.close", "code": self._code})

    def end(self, code: int) -> None:
        """Close when what is held has been answered."""
        self._cut(code)

    def _cut(self, code: int) -> None:
        """Stop reading. What else happens is up to `run`."""
        self._code = code
        if self._main is not None:
            self._main.cancel()

    async def _read(self) -> None:
        idle = self._timing.timeout + self._timing.session_timeout
        while True:
            try:
                async with asyncio.timeout(idle):
                    event = await self._receive()
            except TimeoutError:
                if self._holds:
                    continue
                self._code = _GOING_AWAY
                return
            if event["type"] == "websocket.disconnect":
                return
            text: str | bytes = event.get("text") or event.get("bytes") or ""
            if len(text) > self._limits.request_bytes:
                self._code = _TOO_LARGE
                return
            messages, malformed = self._parsed(text)
            try:
                self._budgets.check(self._request, messages, len(text), self._budget)
            except Refusal as refusal:
                await self._refuse(messages, refusal)
                self._code = _POLICY
                return
            await (self._refuse([], malformed) if malformed else self._take(messages))
            # What has come is there at once, and so is room for what is sent: nothing else would get a turn.
            await asyncio.sleep(0)

    def _parsed(self, text: str | bytes) -> tuple[list[BayeuxMessage], Refusal | None]:
        try:
            return parsed(text, depth=self._limits.depth), None
        except Refusal as refusal:
            return [], refusal

    async def _refuse(self, messages: list[BayeuxMessage], refusal: Refusal) -> None:
        async with Exchange() as exchange:
            self._protocol.refuse_all(messages, refusal, exchange)
            replies = exchange.replies or [BayeuxMessage({"successful": False, "error": str(refusal)})]
            await self._write(encoded(replies))

    async def _take(self, messages: list[BayeuxMessage]) -> None:
        if not messages:
            await self._write("[]")  # so Faye's clients ask whether the socket lives
            return
        try:
            await self._answer(messages)
        except Refusal as refusal:
            await self._refuse([], refusal)

    async def _answer(self, messages: list[BayeuxMessage]) -> None:
        begins = any(message.channel == HANDSHAKE for message in messages)  # then nothing beside it is held
        connects = [message for message in messages if message.channel == CONNECT and not begins]
        others = [message for message in messages if message.channel != CONNECT or begins]
        if others:
            async with Exchange() as exchange:
                await self._protocol.answer_all(others, self._request, exchange)
                await self._write_exchange(exchange)
        for number, connect in enumerate(connects):
            if len(self._holds) >= self._limits.held_per_socket:
                later = {"reconnect": "retry", "interval": round(1_000 * self._timing.retry)}
                refusal = Refusal(429, f"A socket may hold {self._limits.held_per_socket} connects", advice=later)
                await self._refuse(connects[number:], refusal)
                return
            hold = asyncio.create_task(self._hold(connect))
            self._holds.add(hold)
            hold.add_done_callback(self._held)

    async def _hold(self, connect: BayeuxMessage) -> None:
        async with Exchange() as exchange:
            await self._protocol.hold_on_socket(connect, self._request, exchange, self._sender)
            await self._write_exchange(exchange)

    def _held(self, hold: asyncio.Task[None]) -> None:
        self._holds.discard(hold)
        if not hold.cancelled() and (error := hold.exception()) is not None and not isinstance(error, OSError):
            _log.error("a hold on a WebSocket failed", exc_info=error)

    async def _write_exchange(self, exchange: Exchange) -> None:
        if exchange.replies or exchange.messages:
            await self._write(exchange.text())
        exchange.sent()

    async def _write(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})
