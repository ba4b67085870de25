"""Calls that stand for gRPC's, for streams without a server."""

from time import monotonic
from typing import Any

from pixied_server.rpc.writer import Writer
from pixied_server.rpc.writes import WriteLimits, Writes

__all__ = ["Written", "account", "writer_to"]


class Written:
    """What a writer asks of a call besides to write."""

    def peer(self) -> str:
        """Whose it is."""
        return "ipv4:127.0.0.1:1"

    async def send_initial_metadata(self, metadata: tuple[()]) -> None:
        """Begin the answer."""


def writer_to(context: Any) -> Writer:
    """A writer to a call that has the default limits for itself."""
    return Writer(account(), context)


def account() -> Writes:
    """An account of writes with the default limits."""
    return Writes(WriteLimits(), _nothing_is_cut, monotonic)


def _nothing_is_cut(peer: str) -> None:
    raise AssertionError(peer)
