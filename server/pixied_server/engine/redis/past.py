"""What a process still knows of clients that it held: they may name cursors of that time, whoever holds them now."""

from collections import OrderedDict

from pixied_server.engine.redis.claim import RedisClaim

__all__ = ["Past"]

# A claim itself, in bytes, beside the steps of its trail.
_CLAIM = 1_000


class Past:
    """Claims that are over, by client. Those that ended first are forgotten where it gets too much.

    Args:
        most: so much memory it may take, in bytes, roughly.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._claims: OrderedDict[str, tuple[RedisClaim, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._claims)

    def keep(self, claim: RedisClaim) -> None:
        """Remember a claim; it reads no more."""
        self.pop(claim.client_id)
        size = _CLAIM + claim.size
        self._claims[claim.client_id] = claim, size
        self.size += size
        while self.size > self._most:
            self.pop(next(iter(self._claims)))

    def get(self, client_id: str) -> RedisClaim | None:
        """The claim that this process had on a client last, if it is remembered."""
        kept = self._claims.get(client_id)
        return kept[0] if kept else None

    def pop(self, client_id: str) -> RedisClaim | None:
        """The same, and forget it."""
        claim, size = self._claims.pop(client_id, (None, 0))
        self.size -= size
        return claim
