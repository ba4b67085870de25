"""How messages travel, and which ways a front-end offers."""

from collections.abc import Iterable
from typing import Final

from pixied_client.bayeux.refusal import Refusal

__all__ = ["ALL_TRANSPORTS", "Transports"]

ALL_TRANSPORTS: Final = (
    "websocket",
    "eventsource",
    "long-polling",
    "cross-origin-long-polling",
    "callback-polling",
)
"""Bayeux's names of them, the best first."""

_BY_POST: Final = frozenset({"long-polling", "cross-origin-long-polling", "eventsource"})


class Transports:
    """Those that a front-end offers.

    Args:
        names: of those that are on.
        jsonp: whether callback-polling may be among them.

    Raises:
        ValueError: there is none such, or none is on.
    """

    def __init__(self, names: Iterable[str], *, jsonp: bool) -> None:
        on = set(names)
        if unknown := on - set(ALL_TRANSPORTS):
            raise ValueError(f"there is no transport {min(unknown)}; there are {', '.join(ALL_TRANSPORTS)}")
        if not jsonp:
            on.discard("callback-polling")
        if not on:
            raise ValueError("no transport is on")
        self.offered = [name for name in ALL_TRANSPORTS if name in on]

    def __contains__(self, name: object) -> bool:
        return name in self.offered

    def check(self, name: str) -> None:
        """Refuse what came by a transport that is off.

        Raises:
            Refusal: it is off.
        """
        if name not in self.offered:
            raise Refusal(403, f"{name} is switched off")

    def check_post(self) -> None:
        """Refuse a POST where no transport uses any; streams of events have their requests beside them.

        Raises:
            Refusal: there is none.
        """
        if _BY_POST.isdisjoint(self.offered):
            raise Refusal(403, "long-polling is switched off")
