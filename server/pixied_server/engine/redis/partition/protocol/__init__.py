"""The protocol of a partition: one method for each operation of its script, in one file for each file of the script.

Nothing else names an operation, or parses an answer. All raise EngineUnavailable where the store does not answer; each
names its other errors.
"""

from pixied_server.engine.redis.partition.protocol.answers import (
    Answer,
    Change,
    Claimed,
    Ended,
    Joined,
    KeyFull,
    KeyReused,
    LogState,
    Parted,
    Published,
    Read,
    Record,
    Settled,
    Wanted,
)
from pixied_server.engine.redis.partition.protocol.clients import ClientsProtocol
from pixied_server.engine.redis.partition.protocol.messages import MessagesProtocol
from pixied_server.engine.redis.partition.protocol.ownership import OwnershipProtocol
from pixied_server.engine.redis.partition.protocol.processes import ProcessesProtocol
from pixied_server.engine.redis.partition.protocol.subscriptions import SubscriptionsProtocol

__all__ = [
    "Answer",
    "Change",
    "Claimed",
    "Ended",
    "Joined",
    "KeyFull",
    "KeyReused",
    "LogState",
    "Parted",
    "Partition",
    "Published",
    "Read",
    "Record",
    "Settled",
    "Wanted",
]


class Partition(ClientsProtocol, SubscriptionsProtocol, MessagesProtocol, OwnershipProtocol, ProcessesProtocol):
    """One partition. See the module."""
