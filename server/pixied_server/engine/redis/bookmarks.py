"""Cursors that clients name: what they stand for, whichever process handed them out."""

from collections.abc import Callable

from pixied_server.engine.abc import NOT_HANDED_OUT
from pixied_server.engine.redis.asking import Asking
from pixied_server.engine.redis.claim import Cursors, Place, RedisClaim
from pixied_server.engine.redis.positions import BITS
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import look
from pixied_server.errors import FieldInvalid, PixiedError

__all__ = ["Bookmarks"]


class Bookmarks:
    """See the module.

    Args:
        process: this process.
        asking: asks other processes.
        known: the claim on a client that is or was held here, if it is remembered.
    """

    def __init__(self, process: Process, asking: Asking, known: Callable[[str], RedisClaim | None]) -> None:
        self._process = process
        self._asking = asking
        self._known = known

    async def resolved(self, client_id: str, cursor: int) -> Cursors:
        """What a cursor stands for: this process may have handed it out, or another. Nothing, if that is forgotten.

        Raises:
            ClientUnknown, FieldInvalid.
        """
        ordinal = cursor >> BITS
        if ordinal == self._process.positions.head >> BITS:
            claim = self._known(client_id)
            if claim is None:
                await look(self._process, client_id)
                if cursor > self._process.positions.head:
                    raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
                return {}
            progress = self._process.listener.progress(client_id)
            if cursor > max(claim.farthest, progress[1] if progress else 0, claim.handed_out):
                raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
            return claim.cursors_at(cursor)
        await look(self._process, client_id)
        _, process = await self._process.partitions[0].do("process_of", ordinal)
        if not process:
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        answer = await self._asking.ask(process.decode(), "Q", client_id, str(cursor))
        if answer is None:
            return {}
        known, *words = answer
        if known != "1":
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        return {
            (int(partition), pattern): Place(int(place), int(offset))
            for partition, pattern, place, offset in (word.split("\t") for word in words)
        }

    def hear_question(self, process: str, name: str, client_id: str, cursor: str) -> None:
        """Another process asks what a cursor stands for."""

        async def answer() -> None:
            try:
                cursors = await self.resolved(client_id, int(cursor))
            except PixiedError:
                words = ["0"]
            else:
                words = ["1", *(f"{log[0]}\t{log[1]}\t{at.place}\t{at.offset}" for log, at in cursors.items())]
            await self._asking.answer(process, name, *words)

        self._process.spawn(answer())
