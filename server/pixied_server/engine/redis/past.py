"""What a process still knows of clients that it held: they may name cursors of that time, whoever holds them now."""

from collections import OrderedDict

from pixied_server.engine.redis.claim import RedisClaim

__all__ = ["Past"]


class Past:
    """Claims that are over, by client. Those that ended first are forgotten where it gets too much.

    Args:
        most: so much is kept, in steps of reading, messages that were read in them, and cursors: some 100 bytes each.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._claims: OrderedDict[str, tuple[RedisClaim, int]] = OrderedDict()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._claims)

    def keep(self, claim: RedisClaim) -> None:
        """Remember a claim; it reads no more."""
        self.pop(claim.client_id)
        weight = sum(1 + len(step.cursors) + len(step.taken) for step in claim.trail)
        self._claims[claim.client_id] = claim, weight
        self.weight += weight
        while self.weight > self._most:
            self.pop(next(iter(self._claims)))

    def get(self, client_id: str) -> RedisClaim | None:
        """The claim that this process had on a client last, if it is remembered."""
        kept = self._claims.get(client_id)
        return kept[0] if kept else None

    def pop(self, client_id: str) -> RedisClaim | None:
        """The same, and forget it."""
        claim, weight = self._claims.pop(client_id, (None, 0))
        self.weight -= weight
        return claim
