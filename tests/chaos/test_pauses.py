"""What stands still for longer than sessions last, as on a machine that is suspended, and goes on."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.chaos.stage import over, servers
from tests.support.caller import Caller, until
from tests.support.redis_servers import single
from tests.support.refusals import refused

# Longer than a session, and than sessions are ended by nobody where something does that.
_PAUSE = 6


@dataclass
class Standing:
    """What stands still.

    Attributes:
        address: where pixied is.
        begin: lets it stand still.
        end: lets it go on.
    """

    address: str
    begin: Callable[[], None]
    end: Callable[[], None]


@contextmanager
def _standing(what: str) -> Iterator[Standing]:
    with ExitStack() as stack:
        if what in ("memory", "redis"):
            sites = stack.enter_context(servers(what))

            def freeze() -> None:
                for site in sites:
                    site.freeze()

            def thaw() -> None:
                for site in sites:
                    site.thaw()

            yield Standing(sites[0].address, freeze, thaw)
            return
        store = stack.enter_context(single(aof=True))
        one, other = stack.enter_context(over(store.url))
        if what == "store":
            yield Standing(one.address, store.freeze, store.thaw)
            return

        def kill() -> None:
            one.kill()
            other.kill()

        yield Standing(one.address, kill, one.start)


@pytest.mark.parametrize("what", ["memory", "redis", "store", "restart"])
async def test_sessions_do_not_end_because_pixied_stood_still(what: str) -> None:
    """Who has pinged meanwhile, or pings at once, is heard first; who has not ends a little later."""
    with _standing(what) as standing:
        async with grpc.aio.insecure_channel(standing.address) as channel:
            call = Caller(channel)
            pinged, silent = [
                (await call("CreateClient", session_timeout=Duration(seconds=2))).client.client_id for _ in range(2)
            ]
            standing.begin()
            pings = [asyncio.create_task(_ping(call, pinged)) for _ in range(20)]
            await asyncio.sleep(_PAUSE)
            await asyncio.to_thread(standing.end)
            await asyncio.gather(*pings)
            assert (await call("GetClient", client_id=pinged)).client.client_id == pinged

            async def is_over() -> bool:
                await call("PingClient", client_id=pinged)
                listed = (await call("ListClients")).clients
                return silent not in {one.client_id for one in listed}

            await until(is_over)
            assert (await refused(call("GetClient", client_id=silent))).reason == "CLIENT_UNKNOWN"
            await call("PingClient", client_id=pinged)


async def _ping(call: Caller, client_id: str) -> None:
    """Prolong a session, as soon as there is somebody to hear it."""
    while True:
        try:
            await call("PingClient", client_id=client_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)
        else:
            return
