"""What each message of Bayeux does, whatever it travelled by."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from random import random
from typing import Final

from pixied_client.bayeux.activity import Activity
from pixied_client.bayeux.backing import Backing
from pixied_client.bayeux.checks import (
    belongs_to,
    check_handshake,
    has_client_id,
    is_service,
    required_client_id,
    required_text,
    subscription_of,
)
from pixied_client.bayeux.connect import INTERVAL, TIMEOUT, Connects, advice_of
from pixied_client.bayeux.error_log import ErrorLog
from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.extension import Extensions
from pixied_client.bayeux.hooks import Handshake, Hooks
from pixied_client.bayeux.limits import Limits, Timing
from pixied_client.bayeux.message import BayeuxMessage
from pixied_client.bayeux.refusal import Refusal, client_unknown, inactive, refusal_of
from pixied_client.bayeux.request import Request
from pixied_client.bayeux.session import BY_CLIENT, Session
from pixied_client.bayeux.timed_sender import TimedSender
from pixied_client.bayeux.transports import Transports
from pixied_client.errors import DeadlineExceeded, PixiedError, Unavailable
from pixied_client.front_end import FrontEnd

__all__ = ["CONNECT", "HANDSHAKE", "Protocol"]

HANDSHAKE: Final = "/meta/handshake"
CONNECT: Final = "/meta/connect"
_SUBSCRIBING: Final = ("/meta/subscribe", "/meta/unsubscribe")

_Answer = Callable[[BayeuxMessage, Request], Awaitable[BayeuxMessage]]


class Protocol:
    """Answers messages.

    Args:
        backing: the connection to pixied.
        connects: holds connects.
        hooks: what the application decides.
        extensions: what sees all messages.
        activity: notes which clients do something.
        errors: logs what fails.
        timing: for the advice.
        limits: how much one request may have.
        deliver_during_handshake: messages may come with a handshake's reply.
        broadcast_to_publisher: a client that subscribes to a channel gets what it publishes there.
        transports: those that are on.
    """

    def __init__(
        self,
        backing: Backing,
        connects: Connects,
        hooks: Hooks,
        extensions: Extensions,
        activity: Activity,
        errors: ErrorLog,
        timing: Timing,
        limits: Limits,
        *,
        deliver_during_handshake: bool,
        broadcast_to_publisher: bool,
        transports: Transports,
    ) -> None:
        self._backing = backing
        self._connects = connects
        self._hooks = hooks
        self._extensions = extensions
        self._activity = activity
        self._errors = errors
        self._timing = timing
        self._limits = limits
        self._deliver_during_handshake = deliver_during_handshake
        self._connection_types = transports.offered
        self._broadcast_to_publisher = broadcast_to_publisher
        self._answers: dict[str, _Answer] = {
            "/meta/subscribe": self._subscribe,
            "/meta/unsubscribe": self._unsubscribe,
            "/meta/disconnect": self._disconnect,
        }

    # Whole requests

    async def answer_all(
        self, messages: list[BayeuxMessage], request: Request, exchange: Exchange, *, may_wait: bool = True
    ) -> None:
        """Carry messages out in their order, and put the replies, and messages, into the exchange.

        A connect is held only if it comes alone: the others' replies could not go out before it. Beside a handshake
        nothing else is carried out: the specification, section 4.1.1.
        """
        if len(messages) > self._limits.messages:
            raise Refusal(413, f"More than {self._limits.messages} messages in one request")
        first = next((message for message in messages if message.channel == HANDSHAKE), None)
        if first is not None and len(messages) > 1:
            await self._answer_first(first, messages, request, exchange)
            return
        alone = may_wait and len(messages) == 1
        for broadcasts, some in groupby(messages, self._is_simple_broadcast):
            run = list(some)
            if broadcasts:
                for reply in await asyncio.gather(
                    *(self._pass_through(self._publish, one, request, exchange) for one in run)
                ):
                    exchange.answer(reply)
                continue
            for message in run:
                await self._answer(message, request, exchange, may_wait=alone)

    async def _answer_first(
        self, handshake: BayeuxMessage, messages: Sequence[BayeuxMessage], request: Request, exchange: Exchange
    ) -> None:
        for message in messages:
            if message is handshake:
                await self._answer(message, request, exchange, may_wait=False)
                continue
            # A connect may come again, with the new session's id. A second handshake would meet the same again.
            advice = {"reconnect": "retry", "interval": 0} if message.channel == CONNECT else None
            exchange.answer(self._refused(message, Refusal(400, "Ignored beside a handshake", advice=advice)))

    def refuse_all(self, messages: Sequence[BayeuxMessage], refusal: Refusal, exchange: Exchange) -> None:
        """Put replies into the exchange that none of the messages was carried out."""
        for message in messages:
            exchange.answer(self._refused(message, refusal))

    async def hold_on_socket(
        self, message: BayeuxMessage, request: Request, exchange: Exchange, sender: TimedSender
    ) -> None:
        """Hold a connect that came by a WebSocket, and put its reply into the exchange when that is over."""

        async def hold(passed: BayeuxMessage, request: Request) -> BayeuxMessage:
            front_end = await self._checked_connect(passed)
            if passed.ext.get("ack") is not None:
                # With the ack extension messages come with the connects' replies alone, so that a batch has one id.
                return await self._connects.poll(front_end, passed, request, exchange, may_wait=True)
            return await self._connects.stream(front_end, passed, request, exchange, sender)

        exchange.answer(await self._pass_through(hold, message, request, exchange))

    async def stream(self, client_id: str, request: Request, sender: TimedSender, on_held: Callable[[], None]) -> None:
        """Send a client's messages by an EventSource until it is no longer held here; say when it is."""
        front_end = await self._backing.front_end()
        await self._connects.stream_events(front_end, client_id, request, sender, on_held)

    # One message

    async def _answer(self, message: BayeuxMessage, request: Request, exchange: Exchange, *, may_wait: bool) -> None:
        async def connect(passed: BayeuxMessage, request: Request) -> BayeuxMessage:
            front_end = await self._checked_connect(passed)
            if passed.text("connectionType") == "eventsource":
                return await self._connect_beside_event_source(front_end, passed)
            return await self._connects.poll(front_end, passed, request, exchange, may_wait=may_wait)

        async def handshake(passed: BayeuxMessage, request: Request) -> BayeuxMessage:
            return await self._handshake(passed, request, exchange)

        special = {CONNECT: connect, HANDSHAKE: handshake}
        chosen = special.get(message.channel) or self._answers.get(message.channel, self._other)
        exchange.answer(await self._pass_through(chosen, message, request, exchange))

    async def _pass_through(
        self, answer: _Answer, message: BayeuxMessage, request: Request, exchange: Exchange
    ) -> BayeuxMessage | None:
        """Answer a message between the extensions' looks at it and at its reply; None if one of them dropped it."""
        passed: BayeuxMessage | None = message
        try:
            passed = await self._extensions.incoming(message, request)
            if passed is None:
                return None
            reply = await self._guarded(answer, passed, request, exchange)
            return await self._replied(reply, request)
        except Exception as error:  # noqa: BLE001 - an extension failed: that is one message's misfortune
            return self._refused(passed or message, error)

    async def _replied(self, reply: BayeuxMessage, request: Request) -> BayeuxMessage | None:
        """Let the extensions see a reply, and make sure that what they leave of it can be written."""
        passed = await self._extensions.replying(reply, request)
        if passed is not None and self._extensions.look_at_replies:
            passed.json()
        return passed

    async def _mark_active(self, message: BayeuxMessage) -> None:
        if self._timing.max_inactivity is not None and message.channel != CONNECT and message.client_id:
            await self._activity.mark(await self._backing.front_end(), message.client_id)

    async def _guarded(
        self, answer: _Answer, message: BayeuxMessage, request: Request, exchange: Exchange
    ) -> BayeuxMessage:
        began = asyncio.get_running_loop().time()
        try:
            if message.error:
                raise _Refused(message.error)
            if exchange.backend_hangs:
                raise Unavailable("pixied has just not answered another message of this request")
            await self._mark_active(message)
            return await answer(message, request)
        except Exception as error:  # noqa: BLE001 - whatever a hook raises, its client gets an answer
            waited = asyncio.get_running_loop().time() - began
            if isinstance(error, Unavailable | DeadlineExceeded) and waited > self._timing.backend / 2:
                exchange.backend_hangs = True
            return self._refused(message, error)

    def _refused(self, message: BayeuxMessage, error: Exception) -> BayeuxMessage:
        reply = message.reply()
        refusal = self._refusal(message, error)
        reply["successful"] = False
        reply["error"] = str(refusal)
        if message.channel in _SUBSCRIBING and "subscription" in message:
            reply["subscription"] = message.members[
                "subscription"
            ]  # the specification, section 4.5.2, wants it in any case
        advice = getattr(refusal, "advice", None)
        if message.channel in {HANDSHAKE, CONNECT} or (advice and advice.get("reconnect") == "handshake"):
            reply["advice"] = {"reconnect": "handshake", **advice} if advice else {"reconnect": "none"}
        if message.channel == HANDSHAKE:
            reply["supportedConnectionTypes"] = list(self._connection_types)
            if reply["advice"]["reconnect"] == "retry":
                reply["advice"] = {**reply["advice"], "reconnect": "handshake"}
        return reply

    def _refusal(self, message: BayeuxMessage, error: Exception) -> Exception:
        match error:
            case Refusal() | _Refused():
                return error
            case PixiedError():
                retry = round(1_000 * self._timing.retry * (1 + random()))  # noqa: S311 - jitter
                subscription = message.get("subscription")
                about = subscription if isinstance(subscription, str) else message.channel
                if (error.field or "").endswith("client_id"):
                    return client_unknown()  # no session can have such an id
                return refusal_of(error, about, retry_interval=retry)
        self._errors.report(f"a message of {message.channel or 'no channel'} could not be answered", error)
        return Refusal(500, "Internal error", advice={"reconnect": "retry", "interval": 1_000})

    # The protocol's own channels

    async def _handshake(self, message: BayeuxMessage, request: Request, exchange: Exchange) -> BayeuxMessage:
        check_handshake(message, self._connection_types)
        front_end = await self._backing.front_end()
        handshake = Handshake(message, request, self._timing.timeout, self._timing.interval)
        if not await self._hooks.can_handshake(handshake):
            raise Refusal(403, "Handshake denied", advice={"reconnect": "none"})
        client = await front_end.create_client(
            handshake.interval + self._timing.max_interval,
            self._attributes(handshake) | await self._activity.begin(front_end),
        )
        reply = message.reply()
        reply["successful"] = True
        reply["clientId"] = client.client_id
        reply["version"] = reply["minimumVersion"] = "1.0"
        reply["supportedConnectionTypes"] = list(self._connection_types)
        reply["advice"] = advice_of(client, self._timing)
        if message.ext.get("ack") is True:
            reply.extend("ack", True)  # noqa: FBT003 - the protocol's value
        await self._hooks.notify("handshake", self._session(client.client_id), message, request)
        if self._deliver_during_handshake:
            await self._connects.handshaken(front_end, reply, request, exchange)
        return reply

    def _attributes(self, handshake: Handshake) -> dict[str, str]:
        attributes = dict(handshake.attributes)
        for name, own, usual in (
            (TIMEOUT, handshake.timeout, self._timing.timeout),
            (INTERVAL, handshake.interval, self._timing.interval),
        ):
            if own != usual:
                attributes[name] = str(round(1_000 * own))
        return attributes

    async def _checked_connect(self, message: BayeuxMessage) -> FrontEnd:
        required_client_id(message)
        kind = required_text(message, "connectionType", {"reconnect": "handshake"})
        if kind not in self._connection_types:
            raise Refusal(301, "Connection types not supported", kind, advice={"reconnect": "handshake"})
        return await self._backing.front_end()

    async def _connect_beside_event_source(self, front_end: FrontEnd, message: BayeuxMessage) -> BayeuxMessage:
        """Answer a client that gets its messages by an EventSource, wherever: its connects only say it lives."""
        if self._timing.max_inactivity is not None:
            client = await front_end.get_client(message.client_id)
            if await self._activity.end_if_inactive(front_end, client):
                raise inactive()  # the stream tells the client
        await front_end.ping_client(message.client_id)
        reply = message.reply()
        reply["successful"] = True
        interval = round(1_000 * (min(self._timing.timeout, self._timing.max_interval / 2) or self._timing.retry))
        reply["advice"] = {"reconnect": "retry", "interval": interval, "timeout": 0}
        return reply

    async def _subscribe(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        channels = subscription_of(message)
        session = self._session(required_client_id(message))
        for channel in channels:
            if not await self._hooks.can_subscribe(session, channel, request):
                raise Refusal(403, "Subscription denied", channel)
        front_end = await self._backing.front_end()
        broadcast = [channel for channel in channels if not is_service(channel)]
        if broadcast:
            await front_end.subscribe(session.client_id, broadcast)
        else:
            await front_end.ping_client(session.client_id)
        await self._hooks.notify("subscribe", session, message, request)
        return _subscribed_reply(message)

    async def _unsubscribe(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        channels = subscription_of(message)
        session = self._session(required_client_id(message))
        front_end = await self._backing.front_end()
        await front_end.unsubscribe(session.client_id, channels)
        await self._hooks.notify("unsubscribe", session, message, request)
        return _subscribed_reply(message)

    async def _disconnect(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        session = self._session(required_client_id(message))
        front_end = await self._backing.front_end()
        await front_end.destroy_client(session.client_id, BY_CLIENT)
        await self._hooks.notify("disconnect", session, request)
        reply = message.reply()
        reply["successful"] = True
        return reply

    # The application's channels

    def _is_simple_broadcast(self, message: BayeuxMessage) -> bool:
        """Return whether a message can be published together with its neighbours: nobody here wants to see it first."""
        looked_at = self._extensions.look_in or self._extensions.look_out or self._hooks.judge_publishes
        if looked_at or self._timing.max_inactivity is not None:
            return False
        channel = message.channel
        return bool(channel) and not belongs_to(channel, "/meta") and not is_service(channel)

    async def _other(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        if message.get("channel") is None:
            # As CometD's server: who has no session needs one first.
            await (await self._backing.front_end()).ping_client(required_client_id(message, client_unknown()))
        channel = required_text(message, "channel")
        if belongs_to(channel, "/meta"):
            raise Refusal(403, "Forbidden channel", channel)
        return await (self._serve if is_service(channel) else self._publish)(message, request)

    async def _publish(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        session = await self._may_publish(message, request)
        front_end = await self._backing.front_end()
        published = message.to_publish(client_id=message.client_id, to_publisher=self._broadcast_to_publisher)
        await front_end.publish_one(published)
        await self._hooks.notify("publish", session, message, request)
        return _published_reply(message)

    async def _serve(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
        required_client_id(message)
        session = await self._may_publish(message, request)
        assert session is not None  # noqa: S101 - it has a client id
        for service in self._hooks.services_of(message.channel):
            answer = await service(session, message)
            if answer is not None:
                await session.deliver(message.channel, answer)
        return _published_reply(message)

    async def _may_publish(self, message: BayeuxMessage, request: Request) -> Session | None:
        """Check a publish. Returns whose it is; None for one without a client id."""
        if "data" not in message:
            raise Refusal(400, "Missing required parameter", "data")
        session = None
        if has_client_id(message):
            session = self._session(required_client_id(message))
            if not self._connects.holds_client(session.client_id):
                await (await self._backing.front_end()).ping_client(session.client_id)
        if not await self._hooks.can_publish(session, message, request):
            raise Refusal(403, "Publish denied", message.channel)
        return session

    def _session(self, client_id: str) -> Session:
        return Session(client_id, self._backing.front_end)


class _Refused(Exception):
    """An extension has refused the message, in its own words."""


def _subscribed_reply(message: BayeuxMessage) -> BayeuxMessage:
    reply = message.reply()
    reply["subscription"] = message.members["subscription"]
    reply["successful"] = True
    return reply


def _published_reply(message: BayeuxMessage) -> BayeuxMessage:
    """Acknowledge a publish. Never with `data`: that is how clients tell a message from a reply."""
    reply = message.reply()
    reply["successful"] = True
    return reply
