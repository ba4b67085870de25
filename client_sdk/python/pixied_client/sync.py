"""The same as `pixied_client.Backend` and `Admin`, blocking: for WSGI servers, scripts and threads.

The objects may be shared by threads, and by no two processes: a fork's child makes its own. There, what the parent has
made raises RuntimeError where it is used.
"""

import random
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar

import grpc

from pixied_client.channel import DEFAULT_ADDRESS, open_sync_channel
from pixied_client.errors import closed, from_call
from pixied_client.faces import BlockingAdmin, BlockingOperations, Performer
from pixied_client.feeds import DeliverFeed, WatchFeed
from pixied_client.operations import Call
from pixied_client.retry import DEFAULT_RETRIES, Retries
from pixied_client.streams import BlockingStream
from pixied_client.unary import UnaryCaller
from pixied_client.values import Event, EventKind, Messages

__all__ = ["Admin", "Backend"]

R = TypeVar("R")


class _BlockingCalls(Performer):
    """Carries each call out as an RPC of its own, with a deadline and retries."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = 10.0,
        retries: Retries = DEFAULT_RETRIES,
        channel: grpc.Channel | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._address = address
        self._owned = channel is None
        self._closed = False
        self._channel = channel or open_sync_channel(address)
        self._caller = UnaryCaller(self._channel, timeout=timeout, retries=retries, clock=clock, chance=chance)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless the channel was handed in. Calls under way and later ones fail."""
        if self._owned:
            self._closed = True
            # What a fork has copied is the parent's: to close it here would wait for threads that are there.
            if self._caller.origin.is_here:
                self._channel.close()

    def perform(self, call: Call[R]) -> R:
        """Carry out one call of `pixied_client.operations`.

        Raises:
            PixiedError: the subclass says why.
        """
        attempts = self._caller.attempts(call)
        while not self._closed:
            send = self._caller.method(call.rpc)
            try:
                return call.result(send(call.request, timeout=attempts.remaining(self._caller.now())))
            except grpc.RpcError as failure:
                error = from_call(failure, self._address)
            pause = attempts.pause_after(error, self._caller.now())
            if pause is None:
                raise error
            self._sleep(pause)
        raise closed(self._address)


class Backend(_BlockingCalls, BlockingOperations):
    """The backend: one method for each operation, and the streams of one client's messages and of events.

    Args:
        address: `host:port` or `unix:///path`; several pixieds over one store are `ip:port,ip:port`.
        timeout: seconds for each call, retries and all; a long poll's wait comes on top.
        retries: how often calls that are safe to repeat are tried while the server is unavailable.
        channel: a channel of your own, with credentials, say; you close it. Default: an insecure one to `address`.
        clock: gives monotonic seconds.
        sleep: waits for seconds.
        chance: gives 0 <= x < 1, for the jitter.
    """

    def deliver(self, client_id: str, *, explicit: bool = False, ack_cursor: str = "") -> BlockingStream[Messages]:
        """Stream one client's messages, as the asynchronous `pixied_client.Backend.deliver` does."""
        feed = DeliverFeed(client_id, explicit=explicit, ack_cursor=ack_cursor)
        return BlockingStream(feed, self._channel, self._address, self._caller.origin)

    def watch(
        self, kinds: Iterable[EventKind] = (), channel_pattern: str = "", client_id: str = ""
    ) -> BlockingStream[Event]:
        """Stream events as they happen, as the asynchronous `pixied_client.Backend.watch` does."""
        return BlockingStream(
            WatchFeed(kinds, channel_pattern, client_id), self._channel, self._address, self._caller.origin
        )


class Admin(_BlockingCalls, BlockingAdmin):
    """What operators ask of a server. The arguments are those of `Backend`."""
