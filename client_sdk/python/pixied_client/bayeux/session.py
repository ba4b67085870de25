"""A session as an application sees it. It is a name for what pixied holds: nothing is kept here."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pixied_client.bayeux.message import Json
from pixied_client.front_end import FrontEnd
from pixied_client.values import Message

__all__ = ["BY_CLIENT", "BY_SERVER", "Session"]

BY_CLIENT = "the client disconnected"
BY_SERVER = "the server disconnected the client"

_Open: TypeAlias = Callable[[], Awaitable[FrontEnd]]


class Session:
    """One client's session. Whatever fails raises a `PixiedError`: `ClientUnknown` if it is over.

    Args:
        client_id: its id, which is its secret.
        front_end: gives the connection to pixied.
    """

    def __init__(self, client_id: str, front_end: _Open) -> None:
        self.client_id = client_id
        self._front_end = front_end

    def __repr__(self) -> str:
        return f"<Session {self.client_id[:4]}…>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Session) and other.client_id == self.client_id

    def __hash__(self) -> int:
        return hash(self.client_id)

    async def attributes(self) -> Mapping[str, str]:
        """What `can_handshake` put into `Handshake.attributes`. They do not change in a session's life."""
        front_end = await self._front_end()
        return (await front_end.get_client(self.client_id)).attributes

    async def deliver(self, channel: str, value: Json) -> None:
        """Send a message to this client alone, whatever it subscribes to. `/service/**` is a fit channel."""
        front_end = await self._front_end()
        await front_end.queue_for(self.client_id, [Message.of(channel, value)])

    async def subscribe(self, *channels: str) -> None:
        """Subscribe the client; it is not notified."""
        front_end = await self._front_end()
        await front_end.subscribe(self.client_id, channels)

    async def unsubscribe(self, *channels: str) -> None:
        """End subscriptions; the client is not notified."""
        front_end = await self._front_end()
        await front_end.unsubscribe(self.client_id, channels)

    async def disconnect(self) -> None:
        """End the session. The client is advised not to come back."""
        front_end = await self._front_end()
        await front_end.destroy_client(self.client_id, BY_SERVER)
