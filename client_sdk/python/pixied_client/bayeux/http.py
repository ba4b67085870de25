"""Requests and responses: long-polling, callback-polling (JSONP) and Faye's cross-origin-long-polling."""

import asyncio
import contextlib
import re
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import parse_qsl

from pixied_client.bayeux.browsers import Browsers
from pixied_client.bayeux.budget import Budgets
from pixied_client.bayeux.event_source import EventSources
from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.limits import Limits, Timing
from pixied_client.bayeux.message import BayeuxMessage, encoded, parsed
from pixied_client.bayeux.origins import Origins
from pixied_client.bayeux.protocol import CONNECT, HANDSHAKE, Protocol
from pixied_client.bayeux.refusal import Malformed, Refusal
from pixied_client.bayeux.request import Request, Scope
from pixied_client.bayeux.transports import Transports

__all__ = ["HttpTransport", "Receive", "Send"]

R = TypeVar("R")

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# What CometD's server and Faye's take. Whatever is made of these characters, a call of it does no more than fail.
_CALLBACK: Final = re.compile(r"[\w$.-]{1,128}", re.ASCII)
_UNSUPPORTED: Final = 415
_DEFAULT_CALLBACK: Final = "jsonpcallback"
_JSON: Final = re.compile(r"(?:application|text)/(?:[\w.-]+\+)?json")
_UNTYPED: Final = frozenset({"text/plain", ""})
_FORMS: Final = _UNTYPED | {"application/x-www-form-urlencoded"}
_FIXED: Final = (("cache-control", "no-cache, no-store"), ("x-content-type-options", "nosniff"))


class _Gone(Exception):
    """The client closed its connection, so that nobody waits for the response."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request brought.

    Attributes:
        texts: the messages' JSON, in one piece or several.
        callback: the JavaScript function that the response shall call, or None.
    """

    texts: Sequence[str | bytes]
    callback: str | None


class HttpTransport:
    """Serves requests.

    Args:
        protocol: answers messages.
        origins: which pages may ask.
        transports: by which they may.
        browsers: which browsers have how many polls.
        event_sources: serves streams of events.
        budgets: how much may come from whom.
        limits: how large a request may be.
        timing: how long a request may take, and for the advice to browsers with too many polls.
    """

    def __init__(
        self,
        protocol: Protocol,
        origins: Origins,
        transports: Transports,
        browsers: Browsers,
        event_sources: EventSources,
        budgets: Budgets,
        limits: Limits,
        timing: Timing,
    ) -> None:
        self._protocol = protocol
        self._origins = origins
        self._transports = transports
        self._browsers = browsers
        self._event_sources = event_sources
        self._budgets = budgets
        self._limits = limits
        self._timing = timing

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request to its end."""
        request = Request.of(scope)
        if not self._origins.admits(request):
            await self._respond(request, send, 403, _explained(Refusal(403, "Origin denied")))
        elif scope["method"] == "OPTIONS":
            await _send_all(send, 204, self._origins.preflight(request), b"")
        elif scope["method"] == "GET" and "text/event-stream" in request.headers.get("accept", ""):
            with contextlib.suppress(_Gone):
                await self._stream(request, receive, send)
        elif scope["method"] in {"GET", "POST"}:
            with contextlib.suppress(_Gone):
                await self._answer(request, receive, send)
        else:
            refusal = Refusal(405, "Use POST, or GET for callback-polling")
            await self._respond(request, send, 405, _explained(refusal), [("allow", "GET, POST, OPTIONS")])

    async def _stream(self, request: Request, receive: Receive, send: Send) -> None:
        headers = self._origins.headers(request)
        try:
            self._transports.check("eventsource")
        except Refusal as refusal:
            await self._respond(request, send, _status(refusal), _explained(refusal))
            return
        try:
            self._budgets.check(request, [], 0)
        except Refusal:
            await self._event_sources.postpone(send, headers)
            return
        await _while_there(receive, self._event_sources.serve(request, send, headers))

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            asked = await self._asked(request, receive)
            messages = [message for text in asked.texts for message in parsed(text, depth=self._limits.depth)]
        except Refusal as refusal:
            await self._refuse(request, send, refusal)
            return
        async with Exchange() as exchange:
            try:
                if self._may_spend(request, messages, sum(map(len, asked.texts)), exchange):
                    await _while_there(receive, self._answer_all(messages, request, exchange))
            except Refusal as refusal:
                await self._respond(request, send, _status(refusal), _explained(refusal))
                return
            await self._respond_with(request, send, exchange, asked.callback)
            exchange.sent()

    def _may_spend(self, request: Request, messages: list[BayeuxMessage], size: int, exchange: Exchange) -> bool:
        """Return whether messages may be carried out; those that may not are answered.

        Raises:
            Refusal: not even a request without messages may come now.
        """
        try:
            self._budgets.check(request, messages, size)
        except Refusal as refusal:
            if not messages:
                raise
            self._protocol.refuse_all(messages, refusal, exchange)
            return False
        return True

    async def _refuse(self, request: Request, send: Send, refusal: Refusal) -> None:
        """Refuse a request that has no message to answer; it counts as one."""
        with contextlib.suppress(Refusal):
            self._budgets.check(request, [], 0)
        headers = [("accept-encoding", "identity")] if refusal.code == _UNSUPPORTED and _codings(request) else []
        await self._respond(request, send, _status(refusal), _explained(refusal), headers)

    async def _answer_all(self, messages: list[BayeuxMessage], request: Request, exchange: Exchange) -> None:
        channels = [message.channel for message in messages]
        if HANDSHAKE in channels:
            self._browsers.mark(request, exchange)
        if channels != [CONNECT]:
            await self._protocol.answer_all(messages, request, exchange)
            return
        with self._browsers.poll(request, messages[0].client_id) as too_many:
            if too_many and not self._timing.multiple_clients_interval:
                advice = {"reconnect": "none", "multiple-clients": True}
                refusal = Refusal(429, "Too many polls of one browser", advice=advice)
                self._protocol.refuse_all(messages, refusal, exchange)
                return
            await self._protocol.answer_all(messages, request, exchange, may_wait=not too_many)
        if too_many:
            for reply in exchange.replies:
                self._advise_interval(reply)

    def _advise_interval(self, reply: BayeuxMessage) -> None:
        if reply.get("successful") and reply.object("advice").get("reconnect") == "retry":
            interval = round(1_000 * self._timing.multiple_clients_interval)
            reply["advice"] = {**reply.object("advice"), "multiple-clients": True, "interval": interval}

    async def _asked(self, request: Request, receive: Receive) -> _Asked:
        """Read the request.

        Raises:
            Refusal: it is too large, or brings no messages.
        """
        query = _fields(request.scope.get("query_string", b""))
        if request.scope["method"] == "GET":
            self._transports.check("callback-polling")
            if not self._origins.admits_script(request):
                raise Refusal(403, "Origin denied")
            return _asked_by_form(query, default=_DEFAULT_CALLBACK)
        self._transports.check_post()
        try:
            async with asyncio.timeout(self._timing.request):
                body = await self._body(receive)
        except TimeoutError:
            raise Refusal(408, "The request did not come in time") from None
        if coded := _codings(request):
            raise Refusal(_UNSUPPORTED, "Send it without Content-Encoding", coded)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        # What has no type of its own may be either; a form does not begin so.
        if _JSON.fullmatch(kind) or (kind in _UNTYPED and body.removeprefix(BOM_UTF8).lstrip()[:1] in {b"[", b"{"}):
            return _Asked([body], _callback(query, None))
        if kind not in _FORMS:
            raise Refusal(_UNSUPPORTED, "Send application/json, or a form with the field message", kind)
        return _asked_by_form([*query, *_fields(body)], default=None)

    async def _body(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _Gone
            chunks.append(event.get("body", b""))
            size += len(chunks[-1])
            if size > self._limits.request_bytes:
                raise Refusal(413, f"A request has at most {self._limits.request_bytes} bytes")
            if not event.get("more_body"):
                return b"".join(chunks)

    async def _respond_with(self, request: Request, send: Send, exchange: Exchange, callback: str | None) -> None:
        headers = [("set-cookie", cookie) for cookie in exchange.cookies]
        text = exchange.text()
        if callback is not None:
            # These two end a line in JavaScript, where they do not in JSON.
            escaped = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
            headers.append(("content-disposition", "attachment; filename=f.txt"))
            await self._respond(request, send, 200, f"/**/{callback}({escaped});", headers, "text/javascript")
        else:
            await self._respond(request, send, 200, text, headers)

    async def _respond(
        self,
        request: Request,
        send: Send,
        status: int,
        text: str,
        headers: Sequence[tuple[str, str]] = (),
        kind: str = "application/json",
    ) -> None:
        own = [("content-type", f"{kind}; charset=utf-8"), *_FIXED]
        everything = [*own, *self._origins.headers(request), *headers]
        await _send_all(send, status, everything, text.encode(errors="surrogatepass"))


async def _send_all(send: Send, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _while_there(receive: Receive, work: Coroutine[Any, Any, R]) -> R:
    """Do something for as long as the client waits for it.

    Raises:
        _Gone: the client closed its connection; the work was cancelled, and has ended.
    """
    doing = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait([doing, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise _Gone
        return doing.result()
    finally:
        doing.cancel()
        leaving.cancel()
        await asyncio.gather(doing, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _codings(request: Request) -> str:
    """Return how a body is compressed or otherwise coded; empty if it is not."""
    values = [
        value.decode("latin-1") for name, value in request.scope["headers"] if name.lower() == b"content-encoding"
    ]
    codings = [coding.strip().lower() for value in values for coding in value.split(",")]
    return " ".join(coding for coding in codings if coding not in {"", "identity"})


def _asked_by_form(fields: list[tuple[str, str]], *, default: str | None) -> _Asked:
    texts = [value for name, value in fields if name == "message"]
    if not texts:
        raise Malformed("there is no message")
    return _Asked(texts, _callback(fields, default))


def _callback(fields: list[tuple[str, str]], default: str | None) -> str | None:
    name = dict(fields).get("jsonp", default)
    if name is not None and not _CALLBACK.fullmatch(name):
        raise Malformed("jsonp is not the name of a function")
    return name


def _fields(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=1_000)
    except ValueError as error:
        raise Malformed("it is not a form in UTF-8") from error


def _explained(refusal: Refusal) -> str:
    """Answer a request that has no message to answer."""
    return encoded([BayeuxMessage({"successful": False, "error": str(refusal)})])


def _status(refusal: Refusal) -> int:
    return refusal.code if refusal.code in {400, 403, 405, 408, 413, 415, 429} else 400
