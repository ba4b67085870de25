"""Front-ends that die, hang or lose their connection: their clients miss nothing and get nothing twice unmarked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.chaos.stage import Stage, front_end, staged
from tests.sdk.servers import Server, proxied, running_server

_SEEDS = [1, 2, 3]


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_front_end_killed_in_the_middle_of_delivery(seed: int) -> None:
    """SIGKILL while mail flows; the clients go on at another front-end, and the history keeps guarantees 1 to 4."""
    with running_server() as server:
        async with staged(server.address, seed) as stage:
            clients = await stage.create_clients(6)
            publishing = asyncio.gather(*[stage.publish(f"p{number}", 100) for number in range(3)])
            async with front_end(server.address, stage.history, clients, hold=2) as first:
                await first.reaches(got=stage.random.randint(20, 200))
                stage.history.fault("a front-end was killed")
                await first.kill()
            async with front_end(server.address, stage.history, clients) as second:
                await publishing
                await stage.settle()
                await second.kill()
            stage.history.check()


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_connection_cut_again_and_again(seed: int) -> None:
    """A front-end that comes back after each cut loses nothing, wherever in a frame the connection broke."""
    with running_server() as server:
        async with proxied(server) as proxy, staged(server.address, seed) as stage:
            clients = await stage.create_clients(5)
            async with front_end(proxy.address, stage.history, clients, hold=1) as edge:
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
async def test_the_acks_of_a_front_end_that_lost_its_clients_do_not_count(seed: int) -> None:
    """A front-end that hung wakes up and confirms everything; what the new one has not confirmed still comes again."""
    with running_server() as server:
        async with staged(server.address, seed) as stage:
            clients = await stage.create_clients(4, "/a")
            async with front_end(server.address, stage.history, clients, name="hung") as hung:
                await stage.publish("p0", 20, "/a")
                await stage.settle()
                hung.pause()
                # Sent to the one that hangs: it has them in its buffers when it wakes up.
                await stage.publish("p1", 30, "/a")
                stage.history.fault("a front-end hung")
                async with front_end(server.address, stage.history, clients, name="deaf", hold=1_000) as deaf:
                    await stage.settle()
                    unconfirmed = [await stage.pending(client) for client in clients]
                    hung.resume()
                    await hung.reaches(detached=4)
                    await hung.kill()
                    assert [await stage.pending(client) for client in clients] == unconfirmed
                    stage.history.fault("the second front-end was killed")
                    await deaf.kill()
                async with front_end(server.address, stage.history, clients, name="last") as last:
                    await last.reaches(got=sum(unconfirmed))
                    await last.kill()
            assert stage.history.at_stake(stage.history.faults[1]) == sum(unconfirmed) >= 4 * 30
            stage.history.check()


async def test_a_reader_that_stops_costs_no_memory_and_stops_nobody() -> None:
    """100 MB for a front-end that hangs: the server stays small, others get everything, the loss is announced."""
    flags = ("--max-total-bytes", "16MiB", "--max-log-bytes", "8MiB")
    with running_server(*flags) as server:
        async with staged(server.address) as stage:
            [slow] = await stage.create_clients(1, "/a")
            [quick] = await stage.create_clients(1, "/*")
            history = stage.history
            async with (
                front_end(server.address, history, [slow], name="slow") as hung,
                front_end(server.address, history, [quick], name="quick") as lively,
            ):
                hung.pause()
                before = _resident(_process_id(server))
                for number in range(100):
                    await stage.publish(f"p{number}", 10, "/a", padding=100_000)
                    await lively.reaches(got=10 * (number + 1))
                assert _resident(_process_id(server)) - before < 60_000_000
                assert (lively.got, lively.lost, hung.got) == (1_000, 0, 0)
                hung.resume()
                await stage.settle()
                await hung.kill()
            assert hung.lost > 800
            assert hung.got + hung.lost == 1_001
            history.check()


def _process_id(server: Server) -> int:
    assert server._process
    return server._process.pid


def _resident(process_id: int) -> int:
    """How much memory a process takes, in bytes."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return 1_024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.parametrize("seed", _SEEDS)
async def test_a_storm(seed: int) -> None:
    """Kills, cuts, hangs, takeovers and changing subscriptions, drawn by a seed, while three publishers never pause."""
    with running_server() as server:
        async with proxied(server) as proxy, staged(server.address, seed) as stage, AsyncExitStack() as front_ends:
            clients = await stage.create_clients(8)
            enough = asyncio.Event()
            publishing = asyncio.gather(*[stage.publish_until(enough, f"p{number}") for number in range(3)])
            changing = asyncio.create_task(_change_subscriptions(stage, publishing))
            for fault in stage.random.sample(["kill", "cut", "hang"], 3):
                # One that lost its clients must not come back for them, so only the one that is to be cut can be cut.
                address = proxy.address if fault == "cut" else server.address
                hold = stage.random.randint(1, 3)
                edge = await front_ends.enter_async_context(front_end(address, stage.history, clients, hold=hold))
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
            enough.set()
            await publishing
            await changing
            await front_ends.enter_async_context(front_end(server.address, stage.history, clients))
            await stage.settle()
            await front_ends.aclose()
            stage.history.check()


async def _change_subscriptions(stage: Stage, publishing: "asyncio.Future[list[None]]") -> None:
    """A client subscribes to a channel and gives it up again, as long as there are publishes."""
    while not publishing.done():
        client, pattern = stage.random.choice(stage.clients), "/b/*"
        await stage.subscribe(client, pattern)
        await stage.publish(f"s{len(stage.history.publishes)}", 2, "/b/c")
        await stage.unsubscribe(client, pattern)
