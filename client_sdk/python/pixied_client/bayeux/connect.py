"""`/meta/connect`: a client is attached to pixied exactly while one of its connects is held.

So there is nothing to keep between two connects, and nobody to ask where a client was before. The last attach wins:
a second connect of the same client, here or on another front-end, takes the client from the first, whose attachment
says so and whose hold ends. A disconnect ends the session in pixied, and thereby the hold, wherever that is. While a
connect is held the session does not expire; when it is answered, its timeout begins to run: that is CometD's
`maxInterval`. A front-end that dies has just stopped holding.

Messages of a held connect are confirmed when they were handed to the transport. With the ack extension only what the
client confirms counts: the id of a batch is pixied's cursor, which means the same on every front-end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from typing import Any, Final

from pixied_client.attachment import Attachment
from pixied_client.bayeux.absences import LONGEST, Absences
from pixied_client.bayeux.activity import Activity
from pixied_client.bayeux.delivery import Gathered, Holds, Writer, gather
from pixied_client.bayeux.exchange import Exchange
from pixied_client.bayeux.limits import DEFAULT_TIMING, Limits, Timing
from pixied_client.bayeux.message import BayeuxMessage, encoded
from pixied_client.bayeux.refusal import Refusal, client_unknown, inactive
from pixied_client.bayeux.request import Request
from pixied_client.bayeux.session import BY_CLIENT
from pixied_client.bayeux.timed_sender import TimedSender
from pixied_client.errors import FieldInvalid
from pixied_client.front_end import FrontEnd
from pixied_client.values import Client, Detached, DetachReason, Gap

__all__ = ["INTERVAL", "TIMEOUT", "Connects", "acknowledged", "advice_of"]

_log = logging.getLogger("pixied_client.bayeux")

TIMEOUT: Final = "bayeux.timeout"
INTERVAL: Final = "bayeux.interval"
"""Attributes of sessions that have a timing of their own, in milliseconds."""

# A session that was never prolonged ends its timeout after its start, but for rounding. Nothing happens to a session
# sooner than this after its creation: its client does not know its id yet.
_SAME_MOMENT: Final = 0.000_02

# Seconds between the looks at a client that is still held: 0.15 in all, for what takes a round trip where nothing is
# wrong.
_MOMENTS: Final = (0.005, 0.01, 0.02, 0.04, 0.08)

# So many characters of data are gathered into one message of a socket: beyond that nothing is saved, and clients refuse
# messages that are too large for them, by default at a megabyte.
_SOCKET_MESSAGE: Final = 1 << 16

_STAY_AWAY: Final = {"reconnect": "none", "interval": 0}

Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Terms:
    """How one connect is to be held.

    Attributes:
        client_id: the client.
        seconds: for so long; 0 to answer at once.
        acks: what the client has confirmed; None if it does not use the ack extension.
        advice: what its reply advises.
        away: after so many seconds the client connects again; 0.0 if it has not said when.
    """

    client_id: str
    seconds: float
    acks: int | None
    advice: dict[str, Any]
    away: float = 0.0


class Connects:
    """Holds the connects of one front-end.

    Args:
        timing: how long.
        limits: how much goes into one response.
        holds: ends all holds when the front-end drains.
        writer: writes messages.
        activity: ends sessions that only connect.
        absences: prolongs sessions whose clients have said when they connect next.
        on_lost: called when a client has lost messages.
    """

    def __init__(
        self,
        timing: Timing,
        limits: Limits,
        holds: Holds,
        writer: Writer,
        activity: Activity,
        absences: Absences,
        on_lost: Callable[[str, Gap], Awaitable[None]],
    ) -> None:
        self._timing = timing
        self._limits = limits
        self._holds = holds
        self._writer = writer
        self._activity = activity
        self._absences = absences
        self._on_lost = on_lost
        self._held: dict[str, int] = {}

    def holds_client(self, client_id: str) -> bool:
        """Return whether a client is held here, and so alive."""
        return client_id in self._held

    async def poll(
        self, front_end: FrontEnd, message: BayeuxMessage, request: Request, exchange: Exchange, *, may_wait: bool
    ) -> BayeuxMessage:
        """Hold a connect until there are messages, which go into the exchange. Returns the reply."""
        terms = await self._terms(front_end, message, request, exchange, may_wait=may_wait)
        gathered = await self._wait(front_end, terms, request, exchange)
        reply = _accepted(message, terms)
        if terms.acks is not None:
            reply.extend("ack", gathered.cursor or terms.acks)
        _announce_gaps(reply, gathered.gaps)
        return await self._ended(gathered.detached, terms, reply, request, exchange)

    async def handshaken(self, front_end: FrontEnd, reply: BayeuxMessage, request: Request, exchange: Exchange) -> None:
        """Put what a new session has pending already into the exchange with its handshake's reply."""
        acks = 0 if reply.ext.get("ack") else None
        gathered = await self._wait(front_end, Terms(reply.client_id, 0.0, acks, {}), request, exchange)
        if acks is not None:
            reply.extend("ack", {"enabled": True, "batch": gathered.cursor})
        _announce_gaps(reply, gathered.gaps)

    async def stream(
        self, front_end: FrontEnd, message: BayeuxMessage, request: Request, exchange: Exchange, sender: TimedSender
    ) -> BayeuxMessage:
        """Hold a connect on a WebSocket for its full time: messages go out as they come. Returns the reply.

        A loss ends it, for the reply announces that.
        """
        terms = await self._terms(front_end, message, request, exchange, may_wait=True)
        until = asyncio.get_running_loop().time() + terms.seconds
        reply = _accepted(message, terms)
        detached, gaps = await self._pump(front_end, terms.client_id, request, sender, until)
        _announce_gaps(reply, gaps)
        return await self._ended(detached, terms, reply, request, exchange)

    async def stream_events(
        self, front_end: FrontEnd, client_id: str, request: Request, sender: TimedSender, on_held: Callable[[], None]
    ) -> None:
        """Send a client's messages by an EventSource until it is no longer held here; say when it is."""
        while True:
            detached, gaps = await self._pump(front_end, client_id, request, sender, float("inf"), on_held)
            if not gaps:
                break
            # There is no connect to answer: what its reply would say goes by itself.
            reply = BayeuxMessage({"channel": "/meta/connect", "successful": True})
            _announce_gaps(reply, gaps)
            if (passed := await self._writer.passed(reply, request)) is not None:
                await sender.send_unheld(encoded([passed]))
        if _is_ended_by_server(detached) and (notice := await self._notice_of_end(request)) is not None:
            await sender.send_unheld(encoded([notice]))

    async def _pump(
        self,
        front_end: FrontEnd,
        client_id: str,
        request: Request,
        sender: TimedSender,
        until: float,
        on_held: Callable[[], None] = lambda: None,
    ) -> tuple[Detached | None, list[Gap]]:
        """Send a client's messages as they come. Returns why that ended before its time, or None, or what was lost.

        Where the other side takes nothing, the client is given up, so that its messages wait in pixied and not here,
        and taken again when it does.
        """
        cursor = 0
        with self._noted(client_id):
            while True:
                attachment = await front_end.attach(client_id, ack_cursor=cursor)
                on_held()
                async with attachment:
                    item, cursor, gaps = await self._send_on(attachment, request, sender, until)
                if gaps or not isinstance(item, Detached) or item.reason is not DetachReason.REQUESTED:
                    return item, gaps

    async def _send_on(
        self, attachment: Attachment, request: Request, sender: TimedSender, until: float
    ) -> tuple[Detached | None, int, list[Gap]]:
        """Send messages until there is a reason to stop, or some were lost.

        Returns:
            The reason, the cursor of what was sent last, and what was lost before that.
        """
        cursor = 0
        with self._holds.hold(attachment, until) as hold:
            while deliveries := await hold.take(min(self._limits.response_bytes, _SOCKET_MESSAGE)):
                if isinstance(deliveries, Detached):
                    return deliveries, cursor, []
                gathered = Gathered(deliveries)
                await self._notify_lost(attachment.client_id, gathered.gaps)
                cursor = gathered.cursor or cursor
                # What waits goes out as one message of the socket, or as few as are not too large.
                for text in await self._writer.texts(deliveries, request):
                    await sender.send(f"[{text}]", attachment)
                attachment.done()
                if gathered.gaps:
                    return None, cursor, gathered.gaps
        return None, cursor, []

    async def _wait(self, front_end: FrontEnd, terms: Terms, request: Request, exchange: Exchange) -> Gathered:
        until = asyncio.get_running_loop().time() + terms.seconds
        exchange.enter_context(self._noted(terms.client_id))
        try:
            attachment = await front_end.attach(terms.client_id, explicit=True, ack_cursor=terms.acks or 0)
        except FieldInvalid as error:
            # Nobody has sent it such a batch: what it has and what it lacks can't be known.
            raise Refusal(400, "Unknown batch", "ext.ack", advice={"reconnect": "handshake"}) from error
        await exchange.enter_async_context(attachment)
        gathered = await gather(self._holds, attachment, until if terms.seconds else 0.0, self._limits.response_bytes)
        if gathered.detached is None and gathered.number:
            if text := await self._writer.text(gathered.deliveries, request):
                exchange.messages.append(text)
            await self._notify_lost(terms.client_id, gathered.gaps)
            if terms.acks is None:
                exchange.once_sent(lambda: attachment.confirm(gathered.number))
        return gathered

    async def _terms(
        self, front_end: FrontEnd, message: BayeuxMessage, request: Request, exchange: Exchange, *, may_wait: bool
    ) -> Terms:
        client = await self._free(front_end, message.client_id)
        if await self._activity.end_if_inactive(front_end, client):
            exchange.answer(await self._notice_of_end(request))
            raise inactive()
        self._absences.end(client.client_id)
        advice = advice_of(client, self._timing)
        seconds = advice["timeout"] / 1_000
        asked = message.object("advice")
        timeout, interval = _milliseconds(asked, "timeout"), _milliseconds(asked, "interval")
        if timeout is not None and timeout < 1_000 * seconds:
            seconds = timeout / 1_000
        away = 0.0
        if interval is not None and interval > advice["interval"]:
            away = min(interval, 1_000 * LONGEST) / 1_000
            advice["interval"] = round(1_000 * away)
        if not may_wait or _is_first(client):
            seconds = 0.0
        return Terms(client.client_id, seconds, acknowledged(message), advice, away)

    async def _free(self, front_end: FrontEnd, client_id: str) -> Client:
        """Look at a client, and give its owner a moment to let go of it.

        The response that this client has just read may have come from another front-end, which has yet to confirm it:
        taken from it at once, the client would get the same messages twice. One that is held for longer is taken: its
        last connect is the one that counts.
        """
        client = await front_end.get_client(client_id)
        for pause in _MOMENTS:
            if not client.front_end:
                break
            await asyncio.sleep(pause)
            client = await front_end.get_client(client_id)
        return client

    async def _ended(
        self,
        detached: Detached | None,
        terms: Terms,
        reply: BayeuxMessage,
        request: Request,
        exchange: Exchange,
    ) -> BayeuxMessage:
        """Say why a hold ended."""
        if detached is None:
            if terms.away:
                self._absences.begin(terms.client_id, terms.away)
            if self._holds.draining:
                # They all come back at about the same time otherwise.
                reply["advice"] = {**terms.advice, "interval": terms.advice["interval"] + round(1_000 * random())}  # noqa: S311
            return reply
        match detached.reason:
            case DetachReason.DESTROYED:
                if _is_ended_by_server(detached):
                    exchange.answer(await self._notice_of_end(request))
                reply["advice"] = dict(_STAY_AWAY)
                return reply
            case DetachReason.TAKEN_OVER:
                # Two that take one session from each other must not do nothing else.
                seconds = self._timing.multiple_clients_interval or DEFAULT_TIMING.multiple_clients_interval
                advice = {**terms.advice, "interval": round(1_000 * seconds)}
                raise Refusal(409, "A later connect took this one's place", advice=advice)
            case DetachReason.EXPIRED:
                raise client_unknown()
        interval = round(1_000 * self._timing.retry * (1 + random()))  # noqa: S311
        raise Refusal(503, "Backend unavailable", advice={"reconnect": "retry", "interval": interval})

    async def _notice_of_end(self, request: Request) -> BayeuxMessage | None:
        """Make the message that tells a client that the server has ended its session; None: an extension drops it.

        CometD's server sends it, and CometD's Java clients go by it alone: they handshake anew whatever the reply to
        their connect advises. It stands before that reply, so that nobody begins another connect.
        """
        notice = BayeuxMessage({"channel": "/meta/disconnect", "successful": True, "advice": dict(_STAY_AWAY)})
        return await self._writer.passed(notice, request)

    async def _notify_lost(self, client_id: str, gaps: list[Gap]) -> None:
        if gaps:
            # One line, however many channels there are: a client that connects can have thousands.
            lost, first = sum(gap.lost for gap in gaps), gaps[0].channel or "its inbox"
            more = f" and {len(gaps) - 1} more" if len(gaps) > 1 else ""
            _log.warning("a client lost %d messages of %s%s", lost, first, more)
        for gap in gaps:
            await self._on_lost(client_id, gap)

    def _noted(self, client_id: str) -> "_Noted":
        return _Noted(self._held, client_id)


class _Noted:
    """Notes for a while that a client is held here. Two of its connects may overlap for a moment."""

    __slots__ = ("_client_id", "_held")

    def __init__(self, held: dict[str, int], client_id: str) -> None:
        self._held = held
        self._client_id = client_id

    def __enter__(self) -> None:
        self._held[self._client_id] = self._held.get(self._client_id, 0) + 1

    def __exit__(self, *_: object) -> None:
        self._held[self._client_id] -= 1
        if not self._held[self._client_id]:
            del self._held[self._client_id]


def acknowledged(message: BayeuxMessage) -> int | None:
    """What a connect confirms; None if its client does not use the ack extension."""
    acks = message.ext.get("ack")
    if isinstance(acks, bool) or not isinstance(acks, int):
        return None
    return max(acks, 0)


def _milliseconds(advice: dict[str, Any], name: str) -> float | None:
    """Read what a client asks for; None if that is no length of time."""
    value = advice.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if value >= 0 else None


def advice_of(client: Client, timing: Timing) -> dict[str, Any]:
    """Advise a client; it may have a timing of its own."""
    interval = int(client.attributes.get(INTERVAL, round(1_000 * timing.interval)))
    timeout = int(client.attributes.get(TIMEOUT, round(1_000 * timing.timeout)))
    if not timeout:
        # Nothing is held: who came again at once would do nothing else.
        interval = max(interval, round(1_000 * timing.retry))
    return {"reconnect": "retry", "interval": interval, "timeout": timeout}


def _is_ended_by_server(detached: Detached | None) -> bool:
    """Return whether somebody has ended a session who is not its client: the application, or an operator."""
    return detached is not None and detached.reason is DetachReason.DESTROYED and detached.detail != BY_CLIENT


def _accepted(message: BayeuxMessage, terms: Terms) -> BayeuxMessage:
    reply = message.reply()
    reply["successful"] = True
    reply["advice"] = terms.advice
    return reply


def _announce_gaps(reply: BayeuxMessage, gaps: list[Gap]) -> None:
    """Announce losses, for which Bayeux has no member, to clients that know pixied's."""
    if gaps:
        reply.extend("lost", [{"channel": gap.channel, "messages": gap.lost} for gap in gaps])


def _is_first(client: Client) -> bool:
    """Return whether no connect came before: nobody has prolonged or held the session since it was created."""
    if client.expires_at is None or client.front_end:
        return False
    lived = client.expires_at - client.created_at - client.session_timeout
    return abs(lived.total_seconds()) < _SAME_MOMENT
