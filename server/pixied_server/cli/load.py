"""Publishers and subscribers for `pixied bench`: what they send, and whether all of it arrives as it has to."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from secrets import token_hex

from pixied_client import Batch, FrontEnd, Message

__all__ = ["Latencies", "Load", "Plan", "Tally"]

# A publisher without a rate has so many messages under way that are not answered yet.
_UNANSWERED = 64


@dataclass(frozen=True)
class Plan:
    """What is sent.

    Attributes:
        publishers: so many, each with a sequence of its own on each channel.
        subscribers: so many, spread evenly over the channels.
        channels: so many; each publisher takes them in turns.
        rate: messages a second, of all publishers together; 0 for as many as the server answers.
        size: bytes of a message's data.
        duration: seconds.
    """

    publishers: int = 1
    subscribers: int = 100
    channels: int = 1
    rate: float = 0.0
    size: int = 200
    duration: float = 10.0


class Latencies:
    """How long deliveries took, to 1%: a count for each step of 1%, however many there are."""

    _STEP = math.log(1.01)
    _LEAST = 1e-6

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float, count: int = 1) -> None:
        """So many deliveries took so long."""
        self._counts[math.ceil(math.log(max(seconds, self._LEAST) / self._LEAST) / self._STEP)] += count

    def percentile(self, percent: float) -> float:
        """So many percent took at most so many seconds; 0 if there were none."""
        wanted = math.ceil(self._counts.total() * percent / 100)
        for step in sorted(self._counts):
            wanted -= self._counts[step]
            if wanted <= 0:
                return self._LEAST * math.exp(step * self._STEP)
        return 0.0


@dataclass
class Tally:
    """What was sent, and what came of it.

    Attributes:
        published: messages that the server has answered.
        expected: deliveries that they cause.
        delivered: deliveries that came as their subscriber's next one.
        repeated: deliveries that had come before.
        skipped: messages that a subscriber should have got before one that came.
        latencies: from when a message was due to its delivery.
    """

    published: int = 0
    expected: int = 0
    delivered: int = 0
    repeated: int = 0
    skipped: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    # By subscriber and publisher: the number of the next message.
    _next: Counter[tuple[int, int]] = field(default_factory=Counter)

    @property
    def missing(self) -> int:
        """Deliveries that have not come (yet)."""
        return self.expected - self.delivered

    @property
    def faultless(self) -> bool:
        """Whether everything came, in order and once."""
        return not (self.missing or self.repeated or self.skipped)

    def answered(self, subscribers: int) -> None:
        """A message was published that so many subscribers have to get."""
        self.published += 1
        self.expected += subscribers

    def arrived(self, handles: Sequence[int], publisher: int, number: int, seconds: float) -> None:
        """Subscribers have got a message of a publisher, so many seconds after it was due."""
        fresh = 0
        for handle in handles:
            expected = self._next[handle, publisher]
            if number < expected:
                self.repeated += 1
                continue
            self.skipped += number - expected
            self._next[handle, publisher] = number + 1
            fresh += 1
        self.delivered += fresh
        self.latencies.add(seconds, fresh)


class Load:
    """Carries a plan out, on one connection for the publishers and one for the subscribers.

    Args:
        address: the server's.
        plan: what is sent.
        clock: tells seconds.
        timeout: after so many seconds without a delivery what is missing counts as lost.
    """

    def __init__(self, address: str, plan: Plan, clock: Callable[[], float], timeout: float = 5.0) -> None:
        self.tally = Tally()
        self._address = address
        self._plan = plan
        self._now = clock
        self._timeout = timeout
        self._ended = asyncio.Event()
        self._news = asyncio.Event()
        # Others may use the same server.
        prefix = f"/bench/{token_hex(8)}"
        self._channels = [f"{prefix}/{number}" for number in range(plan.channels)]

    async def run(self) -> float:
        """Subscribe, publish, wait for what is still to come, and clean up. Returns the seconds from first to last.

        Raises:
            PixiedError: the server refused something.
        """
        async with (
            FrontEnd(self._address, "pixied bench, subscribers", on_batch=self._take) as subscribers,
            FrontEnd(self._address, "pixied bench, publishers", max_pending=65_536) as publishers,
        ):
            clients = await self._subscribe(subscribers)
            begun = self._now()
            await asyncio.gather(*(self._publish(publishers, number, begun) for number in range(self._plan.publishers)))
            await self._arrive()
            seconds = self._now() - begun
            await asyncio.gather(*(subscribers.destroy_client(client_id) for client_id in clients))
        return seconds

    def end(self) -> None:
        """Publish no more."""
        self._ended.set()

    async def _subscribe(self, front_end: FrontEnd) -> list[str]:
        created = await asyncio.gather(*(front_end.create_client() for _ in range(self._plan.subscribers)))
        ids = [client.client_id for client in created]
        places = [self._channels[number % len(self._channels)] for number in range(len(ids))]
        await asyncio.gather(*map(front_end.subscribe, ids, places))
        await asyncio.gather(*map(front_end.attach, ids))
        return ids

    async def _publish(self, front_end: FrontEnd, publisher: int, begun: float) -> None:
        room = asyncio.Semaphore(_UNANSWERED)
        async with asyncio.TaskGroup() as under_way:
            for message, due, readers in self._messages(publisher, begun):
                if self._plan.rate:
                    await self._until(due)
                else:
                    await room.acquire()
                if self._ended.is_set() or self._now() >= begun + self._plan.duration:
                    break
                text = self._data(publisher, message, due if self._plan.rate else self._now())
                channel = self._channels[message % len(self._channels)]
                task = under_way.create_task(self._send(front_end, Message(channel, text), readers))
                task.add_done_callback(lambda _: room.release())

    def _messages(self, publisher: int, begun: float) -> Iterator[tuple[int, float, int]]:
        """A publisher's messages: their numbers, when they are due, and how many get them."""
        plan, number = self._plan, 0
        least, more = divmod(plan.subscribers, plan.channels)
        while True:
            due = begun + (number * plan.publishers + publisher) / plan.rate if plan.rate else 0.0
            yield number, due, least + (number % plan.channels < more)
            number += 1

    def _data(self, publisher: int, message: int, due: float) -> str:
        text = json.dumps([publisher, message // len(self._channels), due, ""])
        return f'{text[:-2]}{"x" * (self._plan.size - len(text))}"]'

    async def _send(self, front_end: FrontEnd, message: Message, readers: int) -> None:
        await front_end.publish([message])
        self.tally.answered(readers)

    async def _until(self, due: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(due - self._now()):
                await self._ended.wait()

    def _take(self, batch: Batch) -> None:
        now = self._now()
        for message in batch.messages:
            publisher, number, due, _ = json.loads(message.data)
            self.tally.arrived(batch.handles, publisher, number, now - due)
        self._news.set()

    async def _arrive(self) -> None:
        """Wait until everything has come, or nothing comes any more."""
        while self.tally.missing > 0:
            self._news.clear()
            try:
                async with asyncio.timeout(self._timeout):
                    await self._news.wait()
            except TimeoutError:
                return
