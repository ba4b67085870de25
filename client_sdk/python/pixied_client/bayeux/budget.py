"""What callers may send: so many messages and bytes a second, so that one of them leaves room for the others."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final

from pixied_client.bayeux.limits import Limits, Rate
from pixied_client.bayeux.message import BayeuxMessage
from pixied_client.bayeux.refusal import Refusal
from pixied_client.bayeux.request import Request

__all__ = ["Budget", "Budgets"]

_SECONDS: Final = 4.0
"""After so long a silence as much as that may come at once."""
_REMEMBERED: Final = 10_000
_LONGEST_ID: Final = 255


class Budget:
    """One caller's.

    Args:
        rate: what it may send.
    """

    __slots__ = ("_at", "_bytes", "_messages", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._messages = _SECONDS * rate.messages
        self._bytes = _SECONDS * rate.bytes
        self._at = 0.0

    def wait(self, messages: int, size: int, now: float) -> float:
        """Return how many seconds it has to wait with this; 0.0 if it may send it now.

        More than it may ever send at once it may send when it has been silent for long enough.
        """
        rate, passed = self._rate, now - self._at
        self._at = now
        self._messages = min(self._messages + passed * rate.messages, _SECONDS * rate.messages)
        self._bytes = min(self._bytes + passed * rate.bytes, _SECONDS * rate.bytes)
        return max(
            (min(messages, _SECONDS * rate.messages) - self._messages) / rate.messages,
            (min(size, _SECONDS * rate.bytes) - self._bytes) / rate.bytes,
            0.0,
        )

    def spend(self, messages: int, size: int) -> None:
        """Note that it has sent this."""
        self._messages -= messages
        self._bytes -= size


class _Known:
    """The budgets of those who sent something last. Whoever is not among them has sent nothing for long."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._budgets: OrderedDict[str, Budget] = OrderedDict()

    def of(self, caller: str) -> Budget:
        budget = self._budgets.get(caller)
        if budget is None:
            budget = self._budgets[caller] = Budget(self._rate)
            if len(self._budgets) > _REMEMBERED:
                self._budgets.popitem(last=False)
        else:
            self._budgets.move_to_end(caller)
        return budget


class Budgets:
    """Those of all callers of a front-end: of each address, and of each session or WebSocket.

    Args:
        limits: the rates.
        now: tells the time, in seconds.
    """

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._of_session = limits.session_rate
        self._now = now
        self._addresses = _Known(limits.address_rate)
        self._sessions = _Known(limits.session_rate)

    def of_socket(self) -> Budget:
        """Return the budget of a new WebSocket, which is a session's: hardly any has two."""
        return Budget(self._of_session)

    def check(
        self, request: Request, messages: Sequence[BayeuxMessage], size: int, socket: Budget | None = None
    ) -> None:
        """Spend what a request, or a WebSocket's message, takes: one message if it has none that can be read.

        Args:
            request: it, or the one that opened the socket.
            messages: what it brought.
            size: how long it is, in bytes.
            socket: the socket's budget.

        Raises:
            Refusal: it is too much; nothing was spent.
        """
        now = self._now()
        count = max(len(messages), 1)
        spending = [(self._addresses.of(request.peer), count)]
        if socket is not None:
            spending.append((socket, count))
        else:
            senders = Counter(message.client_id for message in messages)
            spending += [(self._sessions.of(one), sent) for one, sent in senders.items() if 0 < len(one) <= _LONGEST_ID]
        wait = max(budget.wait(sent, size, now) for budget, sent in spending)
        if wait:
            raise Refusal(429, "Too many messages", advice={"reconnect": "retry", "interval": ceil(1_000 * wait)})
        for budget, sent in spending:
            budget.spend(sent, size)
