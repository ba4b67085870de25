"""One published message, as the core sees it."""

from dataclasses import dataclass, field

__all__ = ["OVERHEAD", "Message"]

# What a stored message takes beside its body and its strings, in bytes: three Python objects and a place in a list,
# measured with tracemalloc over 100,000 messages on CPython 3.11. Memory limits would lie without it.
OVERHEAD = 320


# Not frozen, though nobody changes one: a frozen one takes twice as long to make.
@dataclass(slots=True)
class Message:
    """A message on its way to its subscribers.

    Attributes:
        channel: a valid channel name.
        body: the message as subscribers get it, encoded by whoever took it in. Engines store it and hand it on unread.
        id: Bayeux's message id, or "".
        publisher: the publisher's client id, or "".
        exclude_publisher: whether the publisher itself does not get it.
        key: its idempotency key, or "".
        size: what it takes in memory, in bytes.
    """

    channel: str
    body: bytes
    id: str = ""
    publisher: str = ""
    exclude_publisher: bool = False
    key: str = ""
    # Asked for a dozen times on a message's way.
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.body) + len(self.channel) + len(self.id) + len(self.publisher) + OVERHEAD

    def skips(self, client_id: str) -> bool:
        """Whether this client is the publisher and wants no copy."""
        return self.exclude_publisher and self.publisher == client_id
