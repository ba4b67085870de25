"""What one front-end takes from browsers, and when it stops waiting for them."""

from dataclasses import dataclass, fields

__all__ = ["DEFAULT_LIMITS", "DEFAULT_TIMING", "Limits", "Rate", "Timing"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How much may come from one caller.

    Attributes:
        messages: so many messages a second.
        bytes: so many bytes a second.
    """

    messages: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for. pixied has further limits: for messages, subscriptions, sessions, rates.

    Attributes:
        request_bytes: the size of one request or one WebSocket message.
        messages: how many messages one request may have.
        depth: how deep JSON may be in itself.
        response_bytes: messages beyond this wait for the next response; one message may be larger.
        held_per_socket: how many clients may have a connect held over one WebSocket.
        polls_per_browser: how many long polls of one browser are held at a time. A browser has few connections to a
            server (6 with HTTP/1.1): all of them held, it could send nothing. Further ones are answered at once.
        session_rate: what one session, or one WebSocket, may send; four seconds' worth at once.
        address_rate: what may come from one address, which a proxy's is for all behind it, unless the ASGI server
            knows better.
        window: how many deliveries pixied sends ahead of their confirmation, for all clients together.
    """

    request_bytes: int = 1 << 20
    messages: int = 1_000
    depth: int = 64
    response_bytes: int = 1 << 20
    held_per_socket: int = 100
    polls_per_browser: int = 1
    session_rate: Rate = Rate(messages=1_000, bytes=2 << 20)
    address_rate: Rate = Rate(messages=10_000, bytes=20 << 20)
    window: int = 1_024


@dataclass(frozen=True, slots=True)
class Timing:
    """When things happen. All in seconds.

    Attributes:
        timeout: how long a connect is held if there are no messages; 0: not at all, and clients wait for `retry` at
            least between two connects.
        interval: how long a client waits between the answer to a connect and its next one.
        max_interval: a session ends when for this long, and `interval`, none of its connects was held.
        retry: how long a client waits when pixied can't be reached; up to twice as long, at random.
        multiple_clients_interval: how long a client waits whose browser has too many polls; 0: it gives up.
        stalled: a WebSocket that takes nothing for this long gets no more live messages until it does: they wait in
            pixied.
        stuck: a WebSocket that takes nothing for this long is closed.
        request: how long a request may take to come, once it has begun.
        backend: a message is answered that pixied is unavailable when it has not done its work for this long. Clients
            wait for no more than 10 s by default, and then take their connection for dead.
        max_inactivity: a session ends at its first connect after so long without any other message; None for never.
            At most pixied's `max_session_timeout`.
    """

    timeout: float = 45.0
    interval: float = 0.0
    max_interval: float = 30.0
    retry: float = 1.0
    multiple_clients_interval: float = 2.0
    stalled: float = 0.1
    stuck: float = 30.0
    request: float = 30.0
    backend: float = 5.0
    max_inactivity: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would make clients do nothing but ask again.

        Raises:
            ValueError: a time is negative, or `retry` is 0.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not value >= 0:
                raise ValueError(f"{each.name} is {value}: it has to be a number of seconds")
        if not self.retry:
            raise ValueError("retry is 0: clients would ask again at once while pixied can't be reached")

    @property
    def session_timeout(self) -> float:
        """How long a session lives while none of its connects is held."""
        return self.interval + self.max_interval


DEFAULT_LIMITS = Limits()
DEFAULT_TIMING = Timing()
