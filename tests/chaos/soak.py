"""`make soak`: two pixieds over one Redis at half load for minutes, with faults that are drawn, judged without a pause.

It goes in rounds. Each has clients of its own, publishers at half the rate that this machine can take, and some faults;
at its end the history is judged, the clients go, and memory is looked at: that of the pixied that is never killed, and
Redis's. What a round leaves behind is what would grow for ever.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tests.chaos.stage import FrontEnd, Stage, over, staged
from tests.sdk.servers import Server
from tests.support import redis_servers
from tests.support.redis_servers import single

__all__ = ["Outcome", "Plan", "soak"]

_CLIENTS = 12
_PUBLISHERS = 6
# Idempotency keys are kept for 5 minutes, so a store that is used grows for as long.
_KEYS = 300.0
# What a key may take in Redis for that time, in bytes: its hashes and its place among the others by age.
_KEY_BYTES = 1_000
# What memory may grow from the first to the last third of the rounds. An allocator keeps some of what it had.
_MAY_GROW = 1.10
_MAY_GROW_BYTES = 8_000_000


@dataclass(frozen=True)
class Plan:
    """How long and how hard.

    Attributes:
        minutes: for how long.
        rounds: at least so many, however long they take.
        round_seconds: how long a round publishes.
        seed: what faults are drawn from.
    """

    minutes: float = 10.0
    rounds: int = 1
    round_seconds: float = 20.0
    seed: int = 1


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        rate: messages a second: half of what was measured.
        published: messages that were answered.
        delivered: copies, each once.
        redelivered: further copies, marked all of them.
        at_stake: copies that were on their way when a front-end or its pixied was killed.
        faults: how often each kind was there.
        memory: at the end of each round, in bytes: pixied's, Redis's.
        seconds: when each round ended.
    """

    rate: float = 0.0
    published: int = 0
    delivered: int = 0
    redelivered: int = 0
    at_stake: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[int, int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


Tell = Callable[[str, Outcome], None]


async def soak(plan: Plan, tell: Tell) -> Outcome:
    """Run it.

    Args:
        plan: how long and how hard.
        tell: is called with a line for people on each step.

    Raises:
        AssertionError: a promise was broken, or memory grew.
    """
    outcome = Outcome()
    random = Random(plan.seed)
    with single(aof=True) as store, over(store.url) as sites:
        # Idempotency keys begin with the seed: no two stages over one store have the same.
        outcome.rate = await _half_load(sites, plan.seed - 1)
        tell(f"half load is {outcome.rate:,.0f} messages a second", outcome)
        began = monotonic()
        while len(outcome.seconds) < plan.rounds or monotonic() - began < 60 * plan.minutes:
            seed = plan.seed + len(outcome.seconds)
            await _Round(store, sites, random, outcome, tell).run(seed, plan.round_seconds)
            outcome.seconds.append(monotonic() - began)
            outcome.memory.append((_resident(sites[0]), int(store.info("memory")["used_memory"])))
            ours, stores = outcome.memory[-1]
            tell(
                f"round {len(outcome.memory)} is judged: pixied {ours / 1e6:.1f} MB, Redis {stores / 1e6:.1f} MB",
                outcome,
            )
    _judge_memory(outcome)
    return outcome


async def _half_load(sites: Sequence[Server], seed: int) -> float:
    """Half of what publishers get through that never pause, in messages a second."""
    async with staged(sites, seed) as stage:
        clients = await stage.create_clients(_CLIENTS)
        async with stage.front_end(clients):
            async with stage.publishers(_PUBLISHERS):
                await stage.published(100)
                before, began = stage.history.answered, monotonic()
                await stage.published(1_000)
                rate = (stage.history.answered - before) / (monotonic() - began)
            await stage.settle()
        await _destroy(stage)
    return rate / 2


class _Round:
    """Some clients, some faults."""

    def __init__(
        self,
        store: redis_servers.Server,
        sites: Sequence[Server],
        random: Random,
        outcome: Outcome,
        tell: Tell,
    ) -> None:
        self._store = store
        self._sites = sites
        self._random = random
        self._outcome = outcome
        self._tell = tell
        self._faults: dict[str, Callable[[Stage], Awaitable[None]]] = {
            "a pixied was killed": self._kill_a_pixied,
            "Redis was killed": self._kill_redis,
            "pub/sub connections were cut": self._cut,
            "scripts were forgotten": self._forget_scripts,
            "a front-end was killed": self._kill_a_front_end,
            "subscriptions changed": self._change_subscriptions,
        }
        self._edge: FrontEnd
        self._edges: AsyncExitStack
        self._clients: list[str]
        # Whether the front-end is at the pixied that is killed.
        self._moves: bool

    async def run(self, seed: int, seconds: float) -> None:
        """Play it, and judge it."""
        async with staged(self._sites, seed) as stage, AsyncExitStack() as self._edges:
            self._clients = await stage.create_clients(_CLIENTS)
            await self._attach(stage)
            began = monotonic()
            async with stage.publishers(_PUBLISHERS, rate=self._outcome.rate):
                while (left := began + seconds - monotonic()) > 0:
                    await asyncio.sleep(min(self._random.uniform(0.5, 4.0), left))
                    name = self._random.choice(list(self._faults))
                    await self._faults[name](stage)
                    self._outcome.faults[name] += 1
                    self._tell(name, self._outcome)
                # What the last fault hit is to be seen.
                await stage.published(20)
            await stage.settle()
            await self._edge.kill()
            history = stage.history
            history.check()
            assert not history.gaps, f"seed {seed}: announced as lost: {history.gaps}"
            self._outcome.published += history.answered
            self._outcome.delivered += sum(len(names) for names in history.got.values())
            self._outcome.redelivered += sum(
                one.redelivered for holding in history.holdings for one in holding.deliveries
            )
            self._outcome.at_stake += sum(history.at_stake(fault) for fault in history.faults)
            await _destroy(stage)

    async def _attach(self, stage: Stage) -> None:
        self._edge = await self._edges.enter_async_context(stage.front_end(self._clients, hold=1))
        self._moves = True

    async def _kill_a_pixied(self, stage: Stage) -> None:
        """The one that a new front-end uses. One that lost it stays at the other."""
        attached = self._edge.attached
        if self._moves:
            stage.history.fault("a pixied was killed")
        await asyncio.to_thread(self._sites[1].kill)
        if self._moves:
            await self._edge.reaches(attached=attached + len(self._clients))
        self._moves = False
        await asyncio.to_thread(self._sites[1].start)

    async def _kill_redis(self, stage: Stage) -> None:
        del stage
        await asyncio.to_thread(self._store.restart)

    async def _cut(self, stage: Stage) -> None:
        del stage
        await asyncio.to_thread(self._store, "CLIENT", "KILL", "TYPE", "pubsub")

    async def _forget_scripts(self, stage: Stage) -> None:
        del stage
        await asyncio.to_thread(self._store, "SCRIPT", "FLUSH")

    async def _kill_a_front_end(self, stage: Stage) -> None:
        stage.history.fault("a front-end was killed")
        await self._edge.kill()
        await self._attach(stage)

    async def _change_subscriptions(self, stage: Stage) -> None:
        """A client subscribes to a pattern that it has not, and gives it up again."""
        client = self._random.choice(self._clients)
        await stage.subscribe(client, "/b/*")
        await stage.published(5)
        await stage.unsubscribe(client, "/b/*")


async def _destroy(stage: Stage) -> None:
    for client in stage.clients:
        await stage.call("DestroyClient", client_id=client)


def _resident(server: Server) -> int:
    """How much memory a server takes, in bytes."""
    status = Path(f"/proc/{server.process_id}/status").read_text()
    return 1_024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def _judge_memory(outcome: Outcome) -> None:
    """See that what there is after a round does not grow with the rounds.

    Raises:
        AssertionError: it does.
    """
    third = len(outcome.memory) // 3
    if third:
        first, last = ([one for one, _ in part] for part in (outcome.memory[:third], outcome.memory[-third:]))
        _assert_flat("pixied", median(first), median(last), 0)
    # Redis is full of keys when the first of them are forgotten.
    settled = [store for at, (_, store) in zip(outcome.seconds, outcome.memory, strict=True) if at > _KEYS * 1.1]
    if len(settled) > 1:
        _assert_flat("Redis", settled[0], settled[-1], 0)
    else:
        _assert_flat("Redis", outcome.memory[0][1], outcome.memory[-1][1], outcome.published * _KEY_BYTES)


def _assert_flat(what: str, before: float, after: float, allowed: int) -> None:
    limit = before * _MAY_GROW + _MAY_GROW_BYTES + allowed
    assert after <= limit, (
        f"{what} grew from {before / 1e6:,.1f} to {after / 1e6:,.1f} MB, more than {limit / 1e6:,.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="what faults are drawn from (default 1)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser


def main() -> int:
    """Run it from the command line. Returns 0 if every promise was kept."""
    options = _parser().parse_args()
    console = Console(stderr=options.json)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("soaking", total=60 * options.minutes, state="")
        began = monotonic()

        def tell(text: str, outcome: Outcome) -> None:
            state = f"{outcome.published:,} published, {outcome.delivered:,} delivered"
            progress.update(bar, completed=monotonic() - began, state=state)
            console.print(f"• {monotonic() - began:5.0f} s  {text}")

        try:
            outcome = asyncio.run(soak(Plan(options.minutes, seed=options.seed), tell))
        except AssertionError as error:
            console.print(f"a promise was broken: {error}")
            return 1
    _report(outcome, console, as_json=options.json)
    return 0


def _report(outcome: Outcome, console: Console, *, as_json: bool) -> None:
    rows: dict[str, float] = {
        "messages a second": round(outcome.rate),
        "published": outcome.published,
        "delivered": outcome.delivered,
        "redelivered, marked": outcome.redelivered,
        "lost": 0,
        "redelivered unmarked": 0,
        "on their way at kills": outcome.at_stake,
        **outcome.faults,
        "pixied at first, MB": round(outcome.memory[0][0] / 1e6, 1),
        "pixied at last, MB": round(outcome.memory[-1][0] / 1e6, 1),
        "Redis at first, MB": round(outcome.memory[0][1] / 1e6, 1),
        "Redis at last, MB": round(outcome.memory[-1][1] / 1e6, 1),
    }
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    table = Table("what", "how much", title="Soaked: every promise was kept")
    for name, value in rows.items():
        table.add_row(name, f"{value:,}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
