"""The ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import grpc

from pixied_client.backend import Backend
from pixied_client.bayeux.absences import Absences
from pixied_client.bayeux.activity import Activity
from pixied_client.bayeux.backing import Backing
from pixied_client.bayeux.browsers import BrowserCookie, Browsers
from pixied_client.bayeux.budget import Budgets
from pixied_client.bayeux.connect import Connects
from pixied_client.bayeux.delivery import Holds, Writer
from pixied_client.bayeux.departures import Departures
from pixied_client.bayeux.error_log import ErrorLog
from pixied_client.bayeux.event_source import EventSources
from pixied_client.bayeux.extension import Extension, Extensions
from pixied_client.bayeux.hooks import CanHandshake, CanPublish, CanSubscribe, Hooks, Service
from pixied_client.bayeux.http import HttpTransport
from pixied_client.bayeux.limits import DEFAULT_LIMITS, DEFAULT_TIMING, Limits, Timing
from pixied_client.bayeux.message import Json
from pixied_client.bayeux.origins import Origins
from pixied_client.bayeux.protocol import Protocol
from pixied_client.bayeux.request import Scope
from pixied_client.bayeux.session import Session
from pixied_client.bayeux.transports import ALL_TRANSPORTS, Transports
from pixied_client.bayeux.websocket import SocketTransport
from pixied_client.channel import DEFAULT_ADDRESS
from pixied_client.front_end import FrontEnd
from pixied_client.values import Gap, Message, PublishResult

__all__ = ["Bayeux"]

_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Application: TypeAlias = Callable[[Scope, _Receive, _Send], Awaitable[None]]

H = TypeVar("H", bound=Callable[..., Awaitable[Any]])

EVENTS = frozenset({"handshake", "subscribe", "unsubscribe", "publish", "disconnect", "lost", "gone"})


class Bayeux:
    """A Bayeux server: an ASGI application that keeps no session, for pixied does.

    Mount it (`app.mount("/bayeux", Bayeux("127.0.0.1:50051"))`), put it beside another application with `beside`, or
    serve it alone. It connects with the first request. One object serves one event loop.

    Args:
        address: where pixied is: `host:port` or `unix:///path`; several over one store are `ip:port,ip:port`.
        name: this front-end's name, 1 to 255 bytes; operators of pixied see it.
        timing: when things happen.
        limits: how much clients may ask for.
        origins: the web pages that may use it, such as `https://example.org`; see docs/bayeux.md.
        hosts: names of this front-end itself, as browsers write them (`chat.example.org:8443`), whose pages may too.
        jsonp: whether there is callback-polling; by default only where all pages may use it.
        transports: those that are on: names as in `supportedConnectionTypes`.
        cookie: tells browsers apart whose pages poll.
        broadcast_to_publisher: whether a client that subscribes to a channel gets what it publishes there itself.
        extensions: what sees all messages; the first is the outermost.
        deliver_during_handshake: what the application has sent to a session by then comes with its handshake's reply.
            CometD's servers call it `allowMessageDeliveryDuringHandshake`.
        channel: a gRPC channel of your own, with credentials, say; you close it.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        name: str = "bayeux",
        timing: Timing = DEFAULT_TIMING,
        limits: Limits = DEFAULT_LIMITS,
        origins: Iterable[str] = ("*",),
        hosts: Iterable[str] = (),
        jsonp: bool | None = None,
        transports: Iterable[str] = ALL_TRANSPORTS,
        cookie: BrowserCookie = BrowserCookie(),  # noqa: B008 - frozen
        broadcast_to_publisher: bool = True,
        extensions: Iterable[Extension] = (),
        deliver_during_handshake: bool = False,
        channel: grpc.aio.Channel | None = None,
    ) -> None:
        self._hooks = Hooks()
        errors = ErrorLog()
        self._departures = Departures(lambda: Backend(address, channel=channel), self._notify_gone, errors)
        self._backing = Backing(
            lambda: FrontEnd(address, name, window=limits.window, timeout=timing.backend, channel=channel),
            self._watch_departures,
        )
        self._extensions = Extensions(extensions)
        self._holds = Holds()
        activity = Activity(timing.max_inactivity)
        # A client's own interval, from `can_handshake`, may be 0.
        self._absences = Absences(self._backing.front_end, timing.max_interval)
        connects = Connects(
            timing, limits, self._holds, Writer(self._extensions), activity, self._absences, self._notify_lost
        )
        allowed = Origins(origins, hosts, jsonp=jsonp)
        offered = Transports(transports, jsonp=allowed.jsonp)
        protocol = Protocol(
            self._backing,
            connects,
            self._hooks,
            self._extensions,
            activity,
            errors,
            timing,
            limits,
            deliver_during_handshake=deliver_during_handshake,
            broadcast_to_publisher=broadcast_to_publisher,
            transports=offered,
        )
        event_sources = EventSources(protocol, timing)
        browsers = Browsers(limits.polls_per_browser, cookie)
        budgets = Budgets(limits)
        self._http = HttpTransport(protocol, allowed, offered, browsers, event_sources, budgets, limits, timing)
        self._sockets = SocketTransport(protocol, allowed, offered, budgets, limits, timing)

    # ASGI

    async def __call__(self, scope: Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection, as ASGI has it."""
        match scope["type"]:
            case "http":
                await self._http.serve(scope, receive, send)
            case "websocket":
                await self._sockets.serve(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)

    def beside(self, other: _Application, path: str = "/bayeux") -> _Application:
        """Make an application of this one, at a path and below it, and another one elsewhere: for Django, say.

        This one alone is notified of the start and stop of the whole, for Django does not handle them.
        """

        async def both(scope: Scope, receive: _Receive, send: _Send) -> None:
            asked = scope.get("path", "")
            here = scope["type"] == "lifespan" or asked == path or asked.startswith(f"{path}/")
            await (self if here else other)(scope, receive, send)

        return both

    async def _live(self, receive: _Receive, send: _Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await self._backing.front_end()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def __aenter__(self) -> Self:
        await self._backing.front_end()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def drain(self) -> None:
        """Begin to stop: answer all held connects, hold no new ones, and close WebSockets. Sessions go on elsewhere."""
        self._holds.drain()
        self._sockets.drain()

    async def close(self) -> None:
        """Stop. Sessions stay in pixied, for other front-ends or for the next start of this one."""
        self.drain()
        await asyncio.sleep(0)
        await self._absences.close()
        await self._backing.close()

    # What the application decides

    def can_handshake(self, hook: CanHandshake) -> CanHandshake:
        """Ask this function whether a client gets a session; it may also raise `Denied`."""
        self._hooks.can_handshake = hook
        return hook

    def can_subscribe(self, hook: CanSubscribe) -> CanSubscribe:
        """Ask this function whether a session may subscribe to a channel or pattern."""
        self._hooks.can_subscribe = hook
        return hook

    def can_publish(self, hook: CanPublish) -> CanPublish:
        """Ask this function whether a message may be published, or sent to a service."""
        self._hooks.can_publish = hook
        return hook

    def service(self, channel: str) -> Callable[[Service], Service]:
        """Let a function serve the messages to a channel below `/service`; a pattern serves several."""
        if not channel.startswith("/service/"):
            raise ValueError(f"{channel} is no service: their channels begin with /service/")

        def serve(service: Service) -> Service:
            self._hooks.services[channel] = service
            return service

        return serve

    def on(self, event: str) -> Callable[[H], H]:
        """Call a function on an event here: after it has happened, and before its client is answered.

        Events and arguments: `handshake`, `subscribe`, `unsubscribe`, `publish`: session, message, request (a publish
        without a client id has None for the session); `disconnect`: session, request; `lost`: session, gap;
        `gone`: session, reason: a session ended, for whatever reason, on whichever front-end. Name a listener for
        that before the first request.
        """
        if event not in EVENTS:
            raise ValueError(f"there is no event {event}; there are {', '.join(sorted(EVENTS))}")

        def listen(listener: H) -> H:
            self._hooks.listeners.setdefault(event, []).append(listener)
            return listener

        return listen

    def add_extension(self, extension: Extension) -> None:
        """Add an extension as the innermost."""
        self._extensions.add(extension)

    # What the application does

    async def publish(self, channel: str, value: Json) -> PublishResult:
        """Publish from the server.

        Raises:
            PixiedError: pixied refused it or can't be reached.
        """
        front_end = await self._backing.front_end()
        return await front_end.publish_one(Message.of(channel, value))

    def session(self, client_id: str) -> Session:
        """Name a session by its client id."""
        return Session(client_id, self._backing.front_end)

    async def _watch_departures(self) -> None:
        if "gone" in self._hooks.listeners:
            await self._departures.watch()

    async def _notify_gone(self, client_id: str, reason: str) -> None:
        await self._hooks.notify("gone", self.session(client_id), reason)

    async def _notify_lost(self, client_id: str, gap: Gap) -> None:
        await self._hooks.notify("lost", self.session(client_id), gap)
