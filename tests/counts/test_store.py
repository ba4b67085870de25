"""What a Redis does for a publish does not depend on who subscribes, nor for a new client on what there was before."""

from collections.abc import Iterator

import pytest
from tests.counts.store import commands_at_the_limit, commands_of_a_client, commands_of_a_publish, commands_of_pings
from tests.support.redis_servers import Server, single

FEW, MANY = 10, 1_000
# One of these may look at everyone who subscribes.
WHOLESALE = {"zrange", "zrangebyscore", "smembers", "hgetall", "hkeys", "hvals", "zscan", "sscan", "hscan", "keys"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis that nobody else uses."""
    with single() as started:
        yield started


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "away"])
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "without a key"])
async def test_as_many_commands_for_many_as_for_few(server: Server, *, attached: bool, keyed: bool) -> None:
    """A publish to 1,000 subscribers takes exactly the commands that one to 10 takes, and none that reads a whole set.

    It is one call, one append and one announcement, whether they are attached, half of them through another process, or
    away.
    """
    few, many = [await commands_of_a_publish(server, count, attached=attached, keyed=keyed) for count in (FEW, MANY)]
    assert few == many
    assert (few["evalsha"], few["xadd"], few["spublish"]) == (1, 1, 1)
    assert not WHOLESALE & few.keys()
    # Only who demands replicas waits for them.
    assert not {"wait", "eval"} & few.keys()


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "without a key"])
async def test_as_many_commands_for_those_who_are_away(server: Server, *, keyed: bool) -> None:
    """Whether its subscribers are attached makes no difference to a publish."""
    away, attached = [
        await commands_of_a_publish(server, FEW, attached=attached, keyed=keyed) for attached in (False, True)
    ]
    assert away == attached


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "without a key"])
async def test_publishes_that_are_begun_at_once_share_calls(server: Server, *, keyed: bool) -> None:
    """They wait for the store together, to check their keys too: there are far fewer calls of it than publishes."""
    counted = await commands_of_a_publish(server, FEW, attached=True, keyed=keyed, at_once=True, publishes=200)
    assert counted["evalsha"] < 0.1
    assert (counted["xadd"], counted["spublish"]) == (1, 1)


@pytest.mark.parametrize("channels", [1, 20])
async def test_a_publish_at_the_limit_costs_what_it_costs_elsewhere(server: Server, channels: int) -> None:
    """The oldest messages go in portions: at most a fifth of a publish more, for one channel and for twenty."""
    below, there = await commands_at_the_limit(server, channels)
    assert there <= 1.2 * below


async def test_who_comes_new_reads_nothing(server: Server) -> None:
    """Nothing that was published or queued before is a new client's: no log is read, and calls are shared."""
    counted = await commands_of_a_client(server, 200)
    assert counted.get("xrange", 0) == 0
    assert counted["evalsha"] < 1


async def test_clients_that_are_pinged_at_once_share_calls(server: Server) -> None:
    """A front-end pings all its clients in one call of its own: the store is not called for each of them."""
    counted = await commands_of_pings(server, 1_000)
    assert counted["evalsha"] < 50
