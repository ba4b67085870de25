"""Front-ends that die, hang or lose their connection: their clients miss nothing and get nothing twice unmarked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.chaos.stage import servers, staged
from tests.sdk.servers import Server, proxied

_SEEDS = [1, 2, 3]

pytestmark = pytest.mark.parametrize("engine", ["memory", "redis"])


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_front_end_killed_in_the_middle_of_delivery(engine: str, seed: int) -> None:
    """SIGKILL while messages flow; the clients go on at another front-end, and the history keeps guarantees 1 to 4."""
    with servers(engine) as sites:
        async with staged(sites, seed) as stage:
            clients = await stage.create_clients(6)
            publishing = asyncio.gather(*[stage.publish(f"p{number}", 100) for number in range(3)])
            async with stage.front_end(clients, hold=2) as first:
                await first.reaches(got=stage.random.randint(20, 200))
                stage.history.fault("a front-end was killed")
                await first.kill()
            async with stage.front_end(clients) as second:
                await publishing
                await stage.settle()
                await second.kill()
            stage.history.check()


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_connection_cut_again_and_again(engine: str, seed: int) -> None:
    """A front-end that comes back after each cut loses nothing, wherever in a frame the connection broke."""
    with servers(engine) as sites:
        async with proxied(sites[-1]) as proxy, staged(sites, seed) as stage:
            clients = await stage.create_clients(5)
            async with stage.front_end(clients, at=[proxy.address], hold=1) as edge:
                for number in range(5):
                    before = edge.got
                    publishing = asyncio.create_task(stage.publish(f"p{number}", 60))
                    await edge.reaches(got=before + stage.random.randint(10, 50))
                    stage.history.fault("a connection was cut")
                    await proxy.cut()
                    await publishing
                await stage.settle()
                await edge.kill()
            stage.history.check()


@pytest.mark.parametrize("seed", _SEEDS)
async def test_the_acks_of_a_front_end_that_lost_its_clients_do_not_count(engine: str, seed: int) -> None:
    """A front-end that hung wakes up and confirms everything; what the new one has not confirmed still comes again."""
    with servers(engine) as sites:
        async with staged(sites, seed) as stage:
            clients = await stage.create_clients(4, "/a")
            async with stage.front_end(clients, name="hung") as hung:
                await stage.publish("p0", 20, "/a")
                await stage.settle()
                hung.pause()
                # Sent to the one that hangs: it has them in its buffers when it wakes up.
                await stage.publish("p1", 30, "/a")
                stage.history.fault("a front-end hung")
                async with stage.front_end(clients, name="deaf", hold=1_000) as deaf:
                    await stage.settle()
                    unconfirmed = [await stage.pending(client) for client in clients]
                    hung.resume()
                    await hung.reaches(detached=4)
                    await hung.kill()
                    assert [await stage.pending(client) for client in clients] == unconfirmed
                    stage.history.fault("the second front-end was killed")
                    await deaf.kill()
                async with stage.front_end(clients, name="last") as last:
                    await last.reaches(got=sum(unconfirmed))
                    await last.kill()
            assert stage.history.at_stake(stage.history.faults[1]) == sum(unconfirmed) >= 4 * 30
            stage.history.check()


async def test_a_reader_that_stops_costs_no_memory_and_stops_nobody(engine: str) -> None:
    """100 MB for a front-end that hangs: the server stays small, others get everything, the loss is announced."""
    flags = ("--max-total-bytes", "16MiB", "--max-log-bytes", "8MiB", "--silence-limit", "10min")
    with servers(engine, *flags) as sites:
        async with staged(sites) as stage:
            [slow] = await stage.create_clients(1, "/a")
            [quick] = await stage.create_clients(1, "/*")
            history = stage.history
            async with (
                stage.front_end([slow], name="slow") as hung,
                stage.front_end([quick], name="quick") as lively,
            ):
                hung.pause()
                before = [_resident(site) for site in sites]
                for number in range(100):
                    await stage.publish(f"p{number}", 10, "/a", padding=100_000)
                    await lively.reaches(got=10 * (number + 1))
                assert all(_resident(site) - size < 60_000_000 for site, size in zip(sites, before, strict=True))
                assert (lively.got, lively.lost, hung.got) == (1_000, 0, 0)
                hung.resume()
                await stage.settle()
                await hung.kill()
            assert hung.lost > 800
            assert hung.got + hung.lost == 1_001
            history.check()


def _resident(server: Server) -> int:
    """How much memory a server takes, in bytes."""
    status = Path(f"/proc/{server.process_id}/status").read_text()
    return 1_024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_storm(engine: str, seed: int) -> None:
    """Kills, cuts, hangs, takeovers and changing subscriptions, drawn by a seed, while three publishers never pause."""
    with servers(engine) as sites:
        async with proxied(sites[-1]) as proxy, staged(sites, seed) as stage, AsyncExitStack() as front_ends:
            clients = await stage.create_clients(8)
            async with stage.publishers(), stage.changing_subscriptions():
                for fault in stage.random.sample(["kill", "cut", "hang"], 3):
                    at = [proxy.address] if fault == "cut" else [stage.random.choice(stage.addresses)]
                    hold = stage.random.randint(1, 3)
                    edge = await front_ends.enter_async_context(stage.front_end(clients, at=at, hold=hold))
                    await edge.reaches(got=stage.random.randint(50, 150))
                    stage.history.fault(f"the storm chose to {fault}")
                    if fault == "kill":
                        await edge.kill()
                    elif fault == "hang":
                        edge.pause()
                        front_ends.callback(edge.resume)
                    else:
                        await proxy.cut()
                        await edge.reaches(attached=2 * len(clients))
            await front_ends.enter_async_context(stage.front_end(clients))
            await stage.settle()
            await front_ends.aclose()
            stage.history.check()
