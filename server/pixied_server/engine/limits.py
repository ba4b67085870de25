"""What an engine holds at most."""

from dataclasses import dataclass

from pixied_server.core.log import Bounds

__all__ = ["EngineLimits"]


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """See the settings of the same names, with `max_` before them.

    Many processes over one store may together exceed the limits of clients, namespaces, keys and bytes by what they add
    within a second. Rates are each process's own. No session timeout is below `shortest_session`, in seconds, in
    whichever process it began.
    """

    clients: int
    subscriptions_per_client: int
    namespaces: int
    idempotency_keys: int
    total_bytes: int
    log: Bounds
    creates_per_second: float
    publishes_per_second: float
    shortest_session: float
