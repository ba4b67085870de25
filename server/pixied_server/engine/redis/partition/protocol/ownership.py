"""Ownership: see `scripts/ownership.lua`."""

from collections.abc import Mapping
from typing import Any

from pixied_server.core.progress import Progress
from pixied_server.engine.abc import NOT_HANDED_OUT
from pixied_server.engine.redis.partition.codec import progress_text
from pixied_server.engine.redis.partition.protocol.answers import (
    Answer,
    Asker,
    Claimed,
    Settled,
    Wanted,
    fields,
    nothing,
    number,
    record_of,
)
from pixied_server.errors import ClientUnknown, FieldInvalid

__all__ = ["OwnershipProtocol"]


class OwnershipProtocol(Asker):
    """A partition's operations on ownership."""

    def claim(
        self, client_id: str, front_end: str, *, expires: bool, link: str, force: bool, cursor: int, settled: Settled
    ) -> Answer[Claimed | Wanted]:
        """Claim a client for this process. Raises ClientUnknown, FieldInvalid."""

        def claimed(result: list[Any]) -> Claimed | Wanted:
            if result[0] == 0:
                raise (
                    ClientUnknown(client_id) if result[1] == b"UNKNOWN" else FieldInvalid("ack_cursor", NOT_HANDED_OUT)
                )
            if result[0] != 1:
                return Wanted(result[1].decode())
            _, number, fields, subscriptions, empty, inbox = result
            return Claimed(int(number), record_of(fields, subscriptions), int(empty), int(inbox))

        words = (front_end, int(expires), link, int(force), cursor or "", settled.claim, *settled.words)
        return self._ask(claimed, "claim", client_id, *words)

    def settle(self, client_id: str, claim: int, sent: Progress) -> Answer[None]:
        """Note how far messages may have been sent before this claim."""
        return self._ask(nothing, "settle", client_id, claim, progress_text(sent))

    def resume(self, client_id: str, claim: int, front_end: str, *, expires: bool, link: str) -> Answer[bool]:
        """Resume a claim that was taken away, if nobody has claimed the client since. Raises ClientUnknown."""
        return self._of_client(
            client_id, lambda result: bool(result[1]), "resume", claim, front_end, int(expires), link
        )

    def confirm(self, client_id: str, claim: int, progress: Progress, changes: int) -> Answer[bool]:
        """Move a client's progress. Returns whether its inbox has more to trim than one call does."""
        words = (claim, progress_text(progress), changes)
        return self._ask(lambda result: bool(result[1]), "confirm", client_id, *words)

    def follows_link(
        self, client_id: str, claim: int, progress: Progress, changes: int, *, follows: bool
    ) -> Answer[tuple[bool, bool]]:
        """Note a client's progress, and whether its link's checkpoint applies to it from now on.

        Returns:
            Whether this process knows of all changes of its subscriptions: if not, the checkpoint does not apply; and
            whether its inbox has more to trim than one call does.
        """
        words = (claim, progress_text(progress), changes, int(follows))
        return self._ask(lambda result: (bool(result[1]), bool(result[2])), "follows_link", client_id, *words)

    def release(self, client_id: str, settled: Settled) -> Answer[None]:
        """Release a client."""
        return self._ask(nothing, "release", client_id, settled.claim, *settled.words)

    def reap(self, process: str, most: int, links: Mapping[str, str]) -> Answer[int]:
        """Release clients of a dead process, by the checkpoints of its links. Returns how many are left."""
        words = [word for link in links.items() for word in link]
        return self._ask(number, "reap", process, most, len(links), *words)

    def checkpoint(self, links: Mapping[str, str]) -> Answer[None]:
        """Write the checkpoints of links of this process; "" for a link that is closed."""
        return self._ask(nothing, "checkpoint", len(links), *(word for link in links.items() for word in link))

    def checkpoints(self, process: str) -> Answer[dict[str, str]]:
        """Return the last checkpoints of a process's links."""
        return self._ask(lambda result: fields(result[1]), "checkpoints", process)
