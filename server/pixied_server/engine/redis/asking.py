"""What one process asks another over the store, and the other answers."""

import asyncio
from collections.abc import Sequence
from itertools import count

from pixied_server.engine.redis.process import Process

__all__ = ["Asking"]

# So long, in seconds, another process has to answer.
_PATIENCE = 0.5


class Asking:
    """See the module.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._names = count(1)
        self._answers: dict[str, asyncio.Future[Sequence[str]]] = {}

    async def ask(self, process: str, kind: str, *words: str) -> Sequence[str] | None:
        """Ask a process something.

        Args:
            process: the other one, which hears kind, this process, the question's name and the words.
            kind: one letter, that says what is asked.
            words: without line ends.

        Returns:
            Its answer, or None if it is no more, or does not answer in time.

        Raises:
            EngineUnavailable: the store does not answer.
        """
        name = str(next(self._names))
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._answers[name] = answer
        try:
            if not await self._tell(process, kind, self._process.name, name, *words):
                return None
            async with asyncio.timeout(_PATIENCE):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._answers[name]

    async def answer(self, process: str, name: str, *words: str) -> None:
        """Answer a question of another process, by its name."""
        await self._tell(process, "A", name, *words)

    def hear_answer(self, name: str, *words: str) -> None:
        """A question of this process is answered."""
        asked = self._answers.get(name)
        if asked is not None and not asked.done():
            asked.set_result(words)

    async def _tell(self, process: str, *words: str) -> int:
        """Returns how many hear it."""
        _, heard = await self._process.partitions[0].do("tell", process, "\n".join(words))
        return int(heard)
