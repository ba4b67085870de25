"""CometD's activity extension: a session whose client only connects, and does nothing else, ends.

When a client was last active must be known on every front-end. So each session has a second one in pixied beside it,
its watch: every message but a connect pings the watch, and when that has run out the next connect ends the session.
"""

from typing import Final

from pixied_client.bayeux.session import BY_SERVER
from pixied_client.errors import ClientUnknown
from pixied_client.front_end import FrontEnd
from pixied_client.values import Client

__all__ = ["Activity"]

_WATCH: Final = "bayeux.watch"
"""The attribute of a session that names its watch. Clients do not know it."""


class Activity:
    """Watches sessions.

    Args:
        longest: after so many seconds without activity a session ends; None for never.
    """

    def __init__(self, longest: float | None) -> None:
        self._longest = longest

    async def begin(self, front_end: FrontEnd) -> dict[str, str]:
        """Give what a new session has to remember."""
        if self._longest is None:
            return {}
        watch = await front_end.create_client(self._longest)
        return {_WATCH: watch.client_id}

    async def mark(self, front_end: FrontEnd, client_id: str) -> None:
        """Note that a client is active; one that is unknown learns it elsewhere."""
        if self._longest is None:
            return
        try:
            client = await front_end.get_client(client_id)
            await front_end.ping_client(client.attributes.get(_WATCH, client_id))
        except ClientUnknown:
            return

    async def end_if_inactive(self, front_end: FrontEnd, client: Client) -> bool:
        """Look at a client that connects. Return whether its session is over now, for it has been inactive too long."""
        watch = client.attributes.get(_WATCH)
        if watch is None:
            return False
        try:
            await front_end.get_client(watch)
        except ClientUnknown:
            await front_end.destroy_client(client.client_id, BY_SERVER)
            return True
        return False
