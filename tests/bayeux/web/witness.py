"""Sees to it that there is always something on its way, and judges what pages have shown."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.bayeux.web.person import Person
from tests.support.history import History

from pixied_client import Backend, Message

__all__ = ["Witness"]

_EACH_SECOND = 20


class Witness:
    """Of one room.

    Args:
        backend: pixied.
        room: the room's name.
    """

    def __init__(self, backend: Backend, room: str) -> None:
        self._backend = backend
        self._channel = f"/rooms/{room}"
        self._history = History()
        self._people: list[Person] = []
        self._published = 0
        self._news = asyncio.Event()

    def join(self, *people: Person) -> None:
        """Expect of these people's pages that they show whatever is said from now on."""
        for person in people:
            self._people.append(person)
            with self._history.subscribing(person.name, self._channel):
                pass

    @contextmanager
    def hearing(self, person: Person, text: str) -> Iterator[None]:
        """Note that a person begins to say something, and has said it when the context is left."""
        with self._history.publishing(text, self._channel, person.name):
            yield

    async def hear(self, person: Person, text: str) -> None:
        """Let a person say something."""
        with self.hearing(person, text):
            await person.say(text)

    @asynccontextmanager
    async def chatter(self) -> AsyncIterator[None]:
        """Let somebody talk all the time, who does not depend on any front-end."""
        task = asyncio.create_task(self._talk())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def some_more(self, count: int = 10) -> None:
        """Wait until so much more has been said."""
        enough = self._published + count
        while self._published < enough:
            self._news.clear()
            await self._news.wait()

    async def judge(self) -> None:
        """Wait until the pages show the last words, and hold what they show to the guarantees: all, once, in order."""
        last = f"last of {self._published}"
        await self._say(last)
        for person in self._people:
            await person.until_shown(last)
        for person in self._people:
            holding = self._history.held(person.name)
            for text in await person.shown():
                self._history.delivered(holding, text, redelivered=False)
        self._history.check()
        pages = [await person.shown() for person in self._people]
        assert all(page == pages[0] for page in pages), "the pages show different orders"

    async def _talk(self) -> None:
        while True:
            await self._say(f"words {self._published}")
            await asyncio.sleep(1 / _EACH_SECOND)

    async def _say(self, text: str) -> None:
        said = {"id": text.replace(" ", "-"), "at": 0, "text": text, "name": "Robot", "client": "cometd"}
        with self._history.publishing(text, self._channel, "Robot"):
            await self._backend.publish_one(Message.of(self._channel, said))
        self._published += 1
        self._news.set()
