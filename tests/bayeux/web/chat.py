"""The chat: who is there, what was said, and what is said next. All of it is in pixied; this process keeps nothing.

People are sessions: their attributes say who they are, their subscriptions in which room. What was said in a room is
kept as the messages of one more session, the room's chronicle, which subscribes to the room and confirms nothing but
what is too old. So a room's past outlives every front-end, and any of them can read it out.
"""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

from pixied_client import Backend, Client, Message
from pixied_client.bayeux import Bayeux, BayeuxMessage, Denied, Handshake, Request, Session
from pixied_client.errors import ClientUnknown, TakenOver

__all__ = ["KEPT", "Chat"]

KEPT = 300
"""So many messages are read out to who comes in."""

_CHRONICLE_LIVES = timedelta(hours=1)
_LONGEST_NAME = 24
_LONGEST_TEXT = 500
_CHANGED = "/presence"
_ROOMS = "/rooms/"
_CLIENTS = frozenset({"cometd", "faye"})


class Chat:
    """Serves rooms on one front-end.

    Args:
        bayeux: the front-end.
        backend: pixied.
        name: the front-end's name: people see on which one they are.
    """

    def __init__(self, bayeux: Bayeux, backend: Backend, name: str) -> None:
        self._backend = backend
        self._name = name
        bayeux.can_handshake(self._admit)
        bayeux.can_subscribe(self._may_subscribe)
        bayeux.can_publish(self._may_publish)
        bayeux.on("handshake")(self._begin_chronicle)
        bayeux.on("subscribe")(self._came)
        bayeux.on("gone")(self._went)
        bayeux.service("/service/say")(self._say)
        bayeux.service("/service/who")(self._who)
        bayeux.service("/service/history")(self._history)

    # Who may do what

    async def _admit(self, handshake: Handshake) -> bool:
        introduction = handshake.message.ext.get("chat")
        if not isinstance(introduction, dict):
            raise Denied("Say who you are in ext.chat", reconnect="none")
        name, room, client = (str(introduction.get(part, "")) for part in ("name", "room", "client"))
        if not 0 < len(name) <= _LONGEST_NAME or not room.isalnum() or client not in _CLIENTS:
            raise Denied("A name, a room of letters and digits, and a client are needed", reconnect="none")
        handshake.attributes |= {"name": name, "room": room, "client": client}
        return True

    async def _may_subscribe(self, session: Session, channel: str, request: Request) -> bool:
        del request
        room = (await session.attributes())["room"]
        return channel in {_room_channel(room), _CHANGED} or channel.startswith("/service/")

    async def _may_publish(self, session: Session | None, message: BayeuxMessage, request: Request) -> bool:
        del request
        # Through the services alone: so nobody can speak in another's name.
        return session is not None and message.channel.startswith("/service/")

    # What is said

    async def _say(self, session: Session, message: BayeuxMessage) -> None:
        words = message.data
        text = str(words["text"])[:_LONGEST_TEXT]
        attributes = await session.attributes()
        said = {
            "id": str(words["id"]),
            "at": words["at"],
            "text": text,
            "name": attributes["name"],
            "client": attributes["client"],
        }
        # Pages say again what they have no answer to; the key lets it be said once.
        key = f"{attributes['room']}:{said['id']}"
        channel = _room_channel(attributes["room"])
        await self._backend.publish_one(Message.of(channel, said, idempotency_key=key))

    async def _history(self, session: Session, message: BayeuxMessage) -> dict[str, Any]:
        room = (await session.attributes())["room"]
        chronicle = await self._chronicle(room)
        past = await self._read(chronicle) if chronicle else []
        return {"asked": message.data, "messages": past[-KEPT:]}

    async def _read(self, chronicle: Client) -> list[Any]:
        """Read a chronicle out, and confirm what is older than anyone gets to see."""
        while True:
            try:
                cursor = ""
                if (too_old := chronicle.pending - KEPT) > 0:
                    most = min(too_old, 1_000)
                    cursor = (await self._backend.dequeue_for(chronicle.client_id, most, explicit=True)).cursor
                received = await self._backend.dequeue_for(chronicle.client_id, 1_000, explicit=True, ack_cursor=cursor)
                return [one.value for one in received.messages]
            except TakenOver:
                continue  # somebody else is reading it at the same moment, and that does not take long

    async def _begin_chronicle(self, session: Session, message: BayeuxMessage, request: Request) -> None:
        del message, request
        room = (await session.attributes())["room"]
        if chronicle := await self._chronicle(room):
            await self._backend.ping_client(chronicle.client_id)
            return
        begun = await self._backend.create_client(_CHRONICLE_LIVES)
        await self._backend.subscribe(begun.client_id, [_room_channel(room), _chronicle_channel(room)])

    async def _chronicle(self, room: str) -> Client | None:
        """Find a room's chronicle. Where two front-ends have begun one at the same moment, the older one is it."""
        found = await self._clients_on(_chronicle_channel(room))
        return min(found, key=lambda client: client.created_at, default=None)

    # Who is there

    async def _who(self, session: Session, message: BayeuxMessage) -> dict[str, Any]:
        room = (await session.attributes())["room"]
        people = [client for client in await self._clients_on(_room_channel(room)) if "name" in client.attributes]
        people.sort(key=lambda client: client.created_at)
        return {
            "asked": message.data,
            "you": _public(session.client_id),
            "here": self._name,
            "people": [
                {
                    "id": _public(client.client_id),
                    "name": client.attributes["name"],
                    "client": client.attributes["client"],
                    "frontEnd": client.front_end,
                }
                for client in people
            ],
        }

    async def _came(self, session: Session, message: BayeuxMessage, request: Request) -> None:
        del request
        # Who asks then finds the session by its subscription to the room: not sooner.
        if _ROOMS in str(message["subscription"]):
            await self._announce_change(f"came:{_public(session.client_id)}")

    async def _went(self, session: Session, reason: str) -> None:
        del reason
        await self._announce_change(f"went:{_public(session.client_id)}")

    async def _announce_change(self, what: str) -> None:
        """Let pages ask who is there. All front-ends get the same end; the key lets one of them announce it."""
        await self._backend.publish_one(Message.of(_CHANGED, {}, idempotency_key=what))

    async def _clients_on(self, channel: str) -> list[Client]:
        ids = (await self._backend.subscribers_of(channel)).items
        found = await asyncio.gather(*(self._client(client_id) for client_id in ids))
        return [client for client in found if client is not None]

    async def _client(self, client_id: str) -> Client | None:
        try:
            return await self._backend.get_client(client_id)
        except ClientUnknown:
            return None  # it ended just now


def _room_channel(room: str) -> str:
    return f"{_ROOMS}{room}"


def _chronicle_channel(room: str) -> str:
    return f"/chronicles/{room}"


def _public(client_id: str) -> str:
    """Name a session for others: its id is its secret."""
    return hashlib.sha256(client_id.encode()).hexdigest()[:16]
