"""A store that does not answer: callers learn what is refused, and what was under way is not lost."""

import asyncio
from typing import Any

import pytest
from tests.engine.benches import Bench, Clock, Limits, OpenBench
from tests.engine.front_end import FrontEnd
from tests.engine.site import Site, reason_of

from pixied_server.core.together import together
from pixied_server.delivery import link
from pixied_server.engine.abc import Claim, Engine, Reading
from pixied_server.errors import EngineUnavailable, Reason


class Unsteady:
    """An engine whose store can be made to fail: the one double of these tests, for no engine fails on demand.

    Attributes:
        together: waits for many operations at once, as an engine does that waits for a store.
        failing: the operations that fail.
        unreadable: the ids of clients whose claims can't be read.
        unreleasable: the ids of clients whose claims can't be released.
        error: with what it fails.
    """

    def __init__(self, engine: Engine) -> None:
        self.__dict__["engine"] = engine
        self.__dict__["together"] = together
        self.__dict__["failing"] = set[str]()
        self.__dict__["unreadable"] = set[str]()
        self.__dict__["unreleasable"] = set[str]()
        self.__dict__["error"] = EngineUnavailable("connection refused")

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.engine, name, value)

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self.engine, name)
        if name not in {"read", "claim", "release", "publish", "confirm"}:
            return operation

        async def unsteady(*args: Any, **named: Any) -> Any:
            refused = self.unreleasable if name == "release" else ()
            if name in self.failing or any(getattr(one, "client_id", "") in refused for one in args):
                raise self.error
            own = [one.claim if isinstance(one, UnsteadyClaim) else one for one in args]
            outcome = await operation(*own, **named)
            return UnsteadyClaim(outcome, self.unreadable) if name == "claim" else outcome

        return unsteady


class UnsteadyClaim:
    """A claim of an unsteady engine.

    Attributes:
        claim: the engine's own.
    """

    def __init__(self, claim: Claim, unreadable: set[str]) -> None:
        self.claim = claim
        self._unreadable = unreadable

    def __getattr__(self, name: str) -> Any:
        return getattr(self.claim, name)

    async def read(self, *, messages: int, size: int, least: int) -> Reading:
        """See `Claim`."""
        if self.claim.client_id in self._unreadable:
            raise EngineUnavailable("connection refused")
        return await self.claim.read(messages=messages, size=size, least=least)


class UnsteadyBench:
    """A bench with an unsteady engine."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.engine: Any = Unsteady(bench.engine)
        self.clock: Clock = bench.clock

    async def elapse(self, seconds: float) -> None:
        """See `Bench`."""
        await self._bench.elapse(seconds)

    async def settle(self) -> None:
        """See `Bench`. Where many are asked for at once that takes some turns more."""
        for _ in range(4):
            await self._bench.settle()


async def test_what_is_refused_says_so(open_bench: OpenBench) -> None:
    """ENGINE_UNAVAILABLE reaches the caller with a time to try again, and a failed attach comes as an event."""
    async with open_bench(Limits()) as bench:
        unsteady = UnsteadyBench(bench)
        site = Site(unsteady)
        await site.create("ann")
        owner, front = site.front_end("owner"), site.front_end()
        await site.attach("ann", owner)
        unsteady.engine.failing.update({"publish", "claim", "release"})
        with pytest.raises(EngineUnavailable, match="does not answer") as refused:
            await site.publish("/a", "1")
        assert refused.value.retry_after is not None
        assert await reason_of(site.dequeue("ann")) is Reason.ENGINE_UNAVAILABLE
        await site.attach("ann", front)
        await front.read()
        assert front.failed["ann"].reason is Reason.ENGINE_UNAVAILABLE
        assert site.hub.owned == 1
        unsteady.engine.failing.clear()
        await site.queue_for("ann", "2")
        await owner.read()
        assert owner.texts("ann") == ["2"]


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "ends"])
async def test_a_link_that_can_not_be_read_for(open_bench: OpenBench, *, goes_on: bool) -> None:
    """Its front-end gets what waited in memory, and the rest when the store answers again, or on its next link."""
    async with open_bench(Limits()) as bench:
        unsteady = UnsteadyBench(bench)
        site = Site(unsteady, outbox=2)
        await site.create("ann")
        await site.subscribe("ann", "/a")
        front = site.front_end()
        await site.attach("ann", front)
        await front.read()
        await site.publish("/a", *"12345")
        unsteady.engine.failing.add("read")
        await front.read()
        assert front.texts("ann") == [*"12"]
        unsteady.engine.failing.clear()
        if goes_on:
            await _read_by_itself(front, "ann", 5)
            assert front.texts("ann") == [*"12345"]
            return
        await front.lose()
        async with site.attached("ann") as after:
            assert (after.texts("ann"), after.marked("ann")) == ([*"12345"], [*"12"])


async def _read_by_itself(front: FrontEnd, name: str, count: int) -> None:
    """Read until a client has so many messages; nobody tells the link that there are any."""
    async with asyncio.timeout(30):
        while len(front.texts(name)) < count:
            front.send(await front.link.take())
            front.receive()


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "ends"])
async def test_a_client_that_can_not_be_read_for(open_bench: OpenBench, *, goes_on: bool) -> None:
    """The others on its link get theirs, and it gets its own later, there or on the next link."""
    async with open_bench(Limits()) as bench:
        unsteady = UnsteadyBench(bench)
        site = Site(unsteady)
        await site.create("ann", "bob")
        for name in ("ann", "bob"):
            await site.subscribe(name, "/a")
        await site.publish("/a", *"12")
        front = site.front_end()
        await site.attach("ann", front)
        await site.attach("bob", front)
        unsteady.engine.unreadable.add(site.ids["bob"])
        await front.read()
        assert (front.texts("ann"), front.texts("bob")) == ([*"12"], [])
        unsteady.engine.unreadable.clear()
        if goes_on:
            await _read_by_itself(front, "bob", 2)
            assert (front.texts("ann"), front.texts("bob")) == ([*"12"], [*"12"])
            return
        await front.lose()
        async with site.attached("ann", "bob") as after:
            assert after.texts("ann") == after.texts("bob") == [*"12"]


async def test_a_link_lets_go_of_everyone_though_the_store_fails(open_bench: OpenBench) -> None:
    """A link that ends while the store is away leaves no client with it: all can be attached when it is back."""
    async with open_bench(Limits()) as bench:
        unsteady = UnsteadyBench(bench)
        site = Site(unsteady)
        await site.create("ann", "bob")
        front = site.front_end()
        for name in ("ann", "bob"):
            await site.attach(name, front)
        unsteady.engine.failing.add("release")
        with pytest.raises(EngineUnavailable):
            await front.lose()
        unsteady.engine.failing.clear()
        assert site.hub.owned == 0
        async with site.attached("ann", "bob") as after:
            assert set(after.attached.values()) == {"ann", "bob"}


@pytest.mark.parametrize(
    "error", [EngineUnavailable("connection refused"), RuntimeError("a defect")], ids=["foreseen", "not"]
)
async def test_a_link_says_that_the_store_did_not_take_one_client_back(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whether it is the only one or one of many, and all others are given up."""
    monkeypatch.setattr(link, "_SLICE", 1)
    async with open_bench(Limits()) as bench:
        unsteady = UnsteadyBench(bench)
        unsteady.engine.__dict__["error"] = error
        site = Site(unsteady)
        await site.create("ann", "bob")
        for names in (("ann",), ("ann", "bob")):
            front = site.front_end()
            for name in names:
                await site.attach(name, front)
            unsteady.engine.unreleasable.add(site.ids["ann"])
            with pytest.raises(type(error), match=str(error)):
                await front.lose()
            unsteady.engine.unreleasable.clear()
            assert site.hub.owned == 0
        assert (await site.look_at("bob")).front_end == ""
