"""A two-way stream that is opened again whenever it ends: what the Pipeline and the Attach stream have in common."""

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import grpc

from pixied.v1 import message_pb2
from pixied_client.cancellation import being_cancelled
from pixied_client.errors import PixiedError, StreamProtocol, Unavailable, draining, from_call
from pixied_client.retry import Backoff

__all__ = ["Connection", "Ending", "KeptStream", "closed"]

_log = logging.getLogger("pixied_client")

_FAREWELL = 1.0  # seconds that a planned close waits for what is under way


@dataclass(slots=True)
class Connection:
    """What the streams of one front-end share.

    Attributes:
        address: where pixied is.
        timeout: seconds after which an operation or an attach without an answer fails.
        backoff: the pauses between attempts to reconnect.
        max_commands: how many operations or commands a frame may hold; valid while `known` is set.
        known: set while the link stands to a server whose limits are known.
        trouble: why the newest attempt to connect failed, for the errors of those who waited for it.
        sleep: waits for seconds.
        chance: gives 0 <= x < 1, for the jitter.
    """

    address: str
    timeout: float
    backoff: Backoff = field(default_factory=Backoff)
    max_commands: int = 1_000
    known: asyncio.Event = field(default_factory=asyncio.Event)
    trouble: PixiedError | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    def unavailable(self) -> Unavailable:
        """Make the error of something that waited in vain for a connection."""
        why = self.trouble.message if self.trouble else f"pixied at {self.address} did not answer in time"
        return Unavailable(why)


class Ending(NamedTuple):
    """How one stream ended.

    Attributes:
        error: why.
        stood: whether it had worked.
        lasted: for how many seconds.
        pause: after how many seconds the server asked to come back, if it did.
    """

    error: PixiedError
    stood: bool
    lasted: float
    pause: float | None


class KeptStream(ABC):
    """One kind of stream, renewed for as long as `keep` runs."""

    kind: ClassVar[str]

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.up = False
        self._wake = asyncio.Event()
        self._leaving = False
        self._come_back: float | None = None
        self._draining: PixiedError | None = None
        self._gone = asyncio.Event()

    async def keep(self, channel: grpc.aio.Channel) -> None:
        """Hold a stream open until `leave`: again and again, with backoff and jitter, or when the server said.

        Raises:
            PixiedError: the server will never take this stream; trying again would not help.
        """
        try:
            await self._keep(channel)
        finally:
            # Here, not only by who runs this: in its `async with` a body may wait for what now will never come.
            self.up = False
            self._gone.set()
            self.close()

    async def _keep(self, channel: grpc.aio.Channel) -> None:
        failures = 0
        while not self._leaving:
            ending = await self._carry(channel)
            if self._hopeless(ending):
                raise ending.error
            # A stream that stood for a moment is a failure too: else a server that takes all and drops all is stormed.
            failures = 0 if ending.lasted > self.connection.backoff.longest else failures + 1
            if not self._leaving:
                self._note(ending, failures)
                await self.connection.sleep(self._pause(ending, failures))

    async def leave(self) -> None:
        """Say goodbye: what waits is sent, what is under way is answered, if that takes no longer than a second."""
        self._leaving = True
        self._wake.set()
        if self.up:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._gone.wait()

    @abstractmethod
    def close(self) -> None:
        """End what waits for the stream: there will be none any more. Does nothing the second time."""

    @abstractmethod
    async def _open(self, channel: grpc.aio.Channel) -> Any:
        """Open the stream."""

    @abstractmethod
    async def _write(self, stream: Any) -> None:
        """Write what waits, for as long as the stream stands."""

    @abstractmethod
    def _take(self, frame: Any) -> None:
        """Take in a frame. Raises StreamProtocol if it makes no sense."""

    @abstractmethod
    def _broke(self, error: PixiedError) -> None:
        """Note that the stream is gone."""

    def _silence_limit(self) -> float | None:
        """Give the seconds of silence after which the stream counts as dead; less than 0 is at once, None is never."""
        return None

    def _hopeless(self, ending: Ending) -> bool:
        """Return whether another attempt would end in the same way."""
        del ending
        return False

    def _closing(self, closing: message_pb2.Closing) -> None:
        """Note that the server is about to stop, and when to come back. Ending the stream is for this side."""
        self._draining = draining(closing)
        self._come_back = asyncio.get_running_loop().time() + closing.reconnect_after_ms / 1000
        _log.info("pixied at %s closes the %s: %s", self.connection.address, self.kind, closing.reason)
        self._wake.set()

    def _stands(self) -> None:
        self.up = True
        self.connection.trouble = None
        self._wake.set()
        _log.info("the %s to pixied at %s stands", self.kind, self.connection.address)

    async def _carry(self, channel: grpc.aio.Channel) -> Ending:
        self._come_back = self._draining = None
        began = asyncio.get_running_loop().time()
        stream = await self._open(channel)
        writer = asyncio.create_task(self._writing(stream))
        try:
            error = await self._read_all(stream)
            error = self._draining or error
        finally:
            writer.cancel()
            stream.cancel()
            await asyncio.wait([writer])
        stood, self.up = self.up, False
        self.connection.trouble = error
        self._broke(error)
        if not writer.cancelled():
            writer.result()  # what the writer did not expect is a defect, and shall be seen
        now = asyncio.get_running_loop().time()
        pause = None if self._come_back is None else max(0.0, self._come_back - now)
        return Ending(error, stood, now - began if stood else 0.0, pause)

    async def _writing(self, stream: Any) -> None:
        try:
            await self._write(stream)
        except (grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
            return  # the stream is gone, which grpc says in these three ways; the reader learns why
        except Exception:
            stream.cancel()  # a defect: the reader would go on, and nobody would see it
            raise

    async def _read_all(self, stream: Any) -> PixiedError:
        """Read until the end, and return why it came."""
        address = self.connection.address
        try:
            while (frame := await self._read(stream)) is not grpc.aio.EOF:
                self._take(frame)
        except grpc.aio.AioRpcError as failure:
            return from_call(failure, address)
        except StreamProtocol as error:
            return error
        except TimeoutError:
            return Unavailable(f"pixied at {address} is silent")
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            # grpc's way of saying that its own side ended the call, such as after a failed write.
            return Unavailable(f"the {self.kind} to pixied at {address} was cut")
        return Unavailable(f"pixied at {address} ended the {self.kind}")

    async def _read(self, stream: Any) -> Any:
        limit = self._silence_limit()
        if limit is None:
            return await stream.read()
        async with asyncio.timeout(limit):
            return await stream.read()

    def _pause(self, ending: Ending, failures: int) -> float:
        if ending.pause is not None:
            return ending.pause
        return (ending.error.retry_after or 0.0) + self.connection.backoff.pause(failures, self.connection.chance)

    def _note(self, ending: Ending, failures: int) -> None:
        """Log the transition, not every failure after it."""
        if ending.stood or failures == 1:
            _log.warning("no %s to pixied, trying again: %s", self.kind, ending.error)


def closed() -> Unavailable:
    """Make the error of something that is asked of a front-end which was closed."""
    return Unavailable("this front-end is closed")
