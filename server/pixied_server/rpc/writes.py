"""What is being written to callers: how long one may take to receive it, and how many bytes may wait for all of them.

gRPC takes a whole message into its memory, and the caller receives it at its own pace. A caller that stops reading and
answers pings holds it for as long as it likes. No API of grpc.aio ends such a call: its status waits behind what is
unread. So a frame is built only when there is room for it, and counts until gRPC is rid of it. A stream that makes no
progress in time ends, and releases its client at once; what gRPC still holds of it goes on counting. When there is no
room left at all, the connection that holds most, and received nothing for a while, is cut.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pixied_server.errors import NotReceived

__all__ = ["Charge", "WriteLimits", "Writes"]

_MIB = 1 << 20
# A frame is held twice while it is written: as it was built, and as gRPC copied it.
_COPIES = 2


@dataclass(frozen=True, slots=True)
class WriteLimits:
    """How much may be written at once, and how long that may take.

    Attributes:
        timeout: how many seconds a caller may take to receive a frame, for each MiB of it that was begun.
        total_bytes: how many bytes may wait for all callers together.
        connection_bytes: how many bytes may wait for one connection. A frame counts twice, for it is held twice.
        stuck: for how many seconds a connection received nothing when it may be cut to make room for others.
    """

    timeout: float = 60.0
    total_bytes: int = 256 * _MIB
    connection_bytes: int = 64 * _MIB
    stuck: float = 5.0


class Charge:
    """Bytes of one connection that count until they are released."""

    def __init__(self, writes: "Writes", peer: str, size: int) -> None:
        self.size = size
        self._writes = writes
        self._peer = peer

    def resize(self, size: int) -> None:
        """Count the frame as what it is, now that it is built: its size in bytes."""
        self._change(size * _COPIES)

    def release(self) -> None:
        """Count it no more. Idempotent."""
        if self.size:
            self._change(0)

    def _change(self, size: int) -> None:
        difference, self.size = size - self.size, size
        self._writes.change(self._peer, difference)


@dataclass(slots=True)
class _Waiting:
    """Someone who waits for room."""

    size: int
    admitted: "asyncio.Future[None]"


class Writes:
    """The account of all that is being written.

    Args:
        limits: see there.
        cut: ends a connection; called when there is no room left. What it held is released as its calls end.
        now: seconds, that never jump.
    """

    def __init__(self, limits: WriteLimits, cut: Callable[[str], None], now: Callable[[], float]) -> None:
        self.limits = limits
        self.held = 0
        self._cut = cut
        self._now = now
        self._by_peer: dict[str, int] = {}
        # When each connection that holds something last received something, or began to hold.
        self._progress: dict[str, float] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._relief: asyncio.TimerHandle | None = None

    def held_by(self, peer: str) -> int:
        """Return how many bytes wait for a connection."""
        return self._by_peer.get(peer, 0)

    async def room(self, peer: str, size: int) -> Charge:
        """Wait until a frame of roughly this size, in bytes, may be built.

        Raises:
            NotReceived: there was none in time.
        """
        cost = min(size * _COPIES, self.limits.connection_bytes, self.limits.total_bytes)
        if peer in self._waiting or not self._fits(peer, cost):
            await self._wait(peer, cost)
        else:
            self.change(peer, cost)
        return Charge(self, peer, cost)

    def change(self, peer: str, difference: int) -> None:
        """Count more or fewer bytes of a connection, and let in who has room now."""
        self.held += difference
        held = self.held_by(peer) + difference
        if peer not in self._by_peer or difference < 0:
            self._progress[peer] = self._now()
        if held:
            self._by_peer[peer] = held
        else:
            self._by_peer.pop(peer, None)
            del self._progress[peer]
        if difference < 0 and self._waiting:
            self._admit()

    def _fits(self, peer: str, cost: int) -> bool:
        return self._fits_connection(peer, cost) and self.held + cost <= self.limits.total_bytes

    def _fits_connection(self, peer: str, cost: int) -> bool:
        return self.held_by(peer) + cost <= self.limits.connection_bytes

    async def _wait(self, peer: str, cost: int) -> None:
        waiting = _Waiting(cost, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(peer, deque()).append(waiting)
        if self._relief is None:
            self._make_room()
        try:
            async with asyncio.timeout(self.limits.timeout):
                await waiting.admitted
        except BaseException as error:
            self._leave(peer, waiting)
            if isinstance(error, TimeoutError):
                raise NotReceived(self._why(peer, cost)) from None
            raise

    def _why(self, peer: str, cost: int) -> str:
        if not self._fits_connection(peer, cost):
            return f"this connection has not received {self.held_by(peer):,} bytes that are written to it"
        return f"the callers of this server have not received {self.held:,} bytes that are written to them"

    def _leave(self, peer: str, waiting: _Waiting) -> None:
        """Wait no more; what was admitted meanwhile is given back."""
        if waiting.admitted.done() and not waiting.admitted.cancelled():
            self.change(peer, -waiting.size)
            return
        self._waiting[peer].remove(waiting)
        if not self._waiting[peer]:
            del self._waiting[peer]
        # Whoever stood behind may need less.
        self._admit()

    def _admit(self) -> None:
        for peer, queue in list(self._waiting.items()):
            while queue and (queue[0].admitted.done() or self._fits(peer, queue[0].size)):
                first = queue[0]
                if first.admitted.done():  # cancelled, and about to leave by itself
                    break
                queue.popleft()
                first.admitted.set_result(None)
                self.change(peer, first.size)
            if not queue:
                del self._waiting[peer]

    def _make_room(self) -> None:
        """Cut the connection that has most if someone waits for nothing but its bytes; look again in a while."""
        self._relief = None
        if not any(self._fits_connection(peer, queue[0].size) for peer, queue in self._waiting.items()):
            return
        now = self._now()
        stuck = [peer for peer, since in self._progress.items() if now - since >= self.limits.stuck]
        if stuck:
            victim = max(stuck, key=self.held_by)
            # It is not chosen again before it had the time to end.
            self._progress[victim] = now
            self._cut(victim)
        self._relief = asyncio.get_running_loop().call_later(self.limits.stuck / 4, self._make_room)
