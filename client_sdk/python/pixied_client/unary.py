"""What the asynchronous and the blocking way of making single RPCs have in common."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message as Protobuf

from pixied_client.operations import Call
from pixied_client.origin import Origin
from pixied_client.retry import Attempts, Retries
from pixied_client.rpcs import Rpc

__all__ = ["UnaryCaller", "serialized"]


def serialized(message: Protobuf) -> bytes:
    """Encode any request."""
    return message.SerializeToString()


class UnaryCaller:
    """Prepares calls: the method of the channel, the deadline, the attempts.

    Attributes:
        channel: what the calls are made on.
        origin: where it was made.
        now: gives monotonic seconds.
    """

    def __init__(
        self,
        channel: "grpc.Channel | grpc.aio.Channel",
        *,
        timeout: float,
        retries: Retries,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.channel = channel
        self.origin = Origin()
        self.now = clock
        self._timeout = timeout
        self._retries = retries
        self._chance = chance
        self._methods: dict[str, Any] = {}

    def method(self, rpc: Rpc) -> Any:
        """Give what sends requests of this RPC; made once, for making it costs as much as a call.

        Raises:
            RuntimeError: the process has forked since the connection was made.
        """
        self.origin.check()
        if rpc.path not in self._methods:
            self._methods[rpc.path] = self.channel.unary_unary(
                rpc.path, request_serializer=serialized, response_deserializer=rpc.response.FromString
            )
        return self._methods[rpc.path]

    def attempts(self, call: Call[Any]) -> Attempts:
        """Begin the attempts of one call: its deadline runs from now."""
        deadline = self.now() + self._timeout + call.wait
        return Attempts(self._retries, repeatable=call.repeatable, deadline=deadline, random=self._chance)
