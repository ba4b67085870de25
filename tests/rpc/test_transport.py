"""Where the server listens, how much it takes at once, and which keepalive it lives with."""

import asyncio
import errno
import re
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import pytest
from tests.support.caller import TIMEOUT, message, within
from tests.support.contract import path_of
from tests.support.http2 import GOAWAY, PING, RST_STREAM, Http2, connected
from tests.support.link import RawLink, hello
from tests.support.site import Site, serving

from pixied.v1 import pipeline_pb2
from pixied_server.app import AddressInUse
from pixied_server.rpc.addresses import reserved, unusable
from pixied_server.rpc.server import Transport

_ENHANCE_YOUR_CALM = 11
_MIN_PING_MS = 10_000
_OPTIONS = Transport(("127.0.0.1:0",), 1_000_000, 1_000).options


async def test_a_unix_socket(engine: str) -> None:
    """A sidecar's address works as any other, and its file is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        address = f"unix://{folder}/socket"
        async with serving([address]) as site:
            assert site.addresses == [address]
            assert (await site("GetInfo")).engine == engine
        with socket.socket(socket.AF_UNIX) as probe:
            assert probe.connect_ex(f"{folder}/socket") == errno.ENOENT


async def test_an_ipv6_address() -> None:
    """It stands in brackets, also where the port that was chosen is told."""
    if why := unusable("[::1]:0"):
        pytest.skip(f"this machine has no IPv6: {why}")
    async with serving(["[::1]:0"]) as site:
        assert re.fullmatch(r"\[::1\]:[1-9]\d*", site.address)
        assert (await site("GetInfo")).version


async def test_several_addresses_are_one_server() -> None:
    """A client that was made through one is known through the other."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        async with serving(["127.0.0.1:0", f"unix://{folder}/socket"]) as site:
            alice = await site.client()
            async with grpc.aio.insecure_channel(site.addresses[1]) as channel:
                assert (await Site(channel, site.addresses, site.ended)("GetClient", client_id=alice)).client


async def test_a_port_in_use_stops_the_start(site: Site) -> None:
    """The error names the address; the server that has it serves on."""
    with pytest.raises(AddressInUse, match=re.escape(site.address)):
        async with serving([site.address]):
            pass
    assert (await site("GetInfo")).version


async def test_a_port_in_use_is_not_shared_with_who_does_not_share_it(site: Site) -> None:
    """A server that would share it with others learns that it can't; the one that has it serves on."""
    text = f"can't listen on {site.address}: it is in use, or not an address of this machine"
    with pytest.raises(AddressInUse, match=f"^{re.escape(text)}$"):
        async with serving([site.address], shared=True):
            pass
    assert (await site("GetInfo")).version


async def test_processes_share_an_address_that_is_reserved_for_them() -> None:
    """Each of them listens there, under the address that was reserved."""
    with reserved("127.0.0.1:0") as address:
        async with serving([address], shared=True) as one, serving([address], shared=True) as other:
            assert (one.address, other.address) == (address, address)
            assert (await one("GetInfo")).version


async def test_no_two_servers_listen_on_one_port_unless_they_share_it() -> None:
    """Not even when both have found it free, and then begin to listen."""
    async with _bare(_OPTIONS) as address:
        with pytest.raises(RuntimeError):
            async with _bare(_OPTIONS, address):
                pass


async def test_a_unix_socket_in_use_stops_the_start() -> None:
    """A second server on the same path must not push the first one aside."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        address = f"unix://{folder}/socket"
        async with serving([address]) as site:
            with pytest.raises(AddressInUse, match=re.escape(address)):
                async with serving([address]):
                    pass
            async with site.another_channel(use_local_subchannel_pool=1) as caller:
                assert (await caller("GetInfo")).version


async def test_a_unix_socket_left_by_a_dead_server_is_no_obstacle() -> None:
    """After a power cut the file is still there; nobody listens, so the start takes the path over."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"{folder}/socket")
        async with serving([f"unix://{folder}/socket"]) as site:
            assert (await site("GetInfo")).version


async def test_the_largest_message_fits_into_a_request_of_the_same_bound() -> None:
    """What a request and a frame add to it does not count."""
    async with serving(max_message_bytes=100_000, max_request_bytes=100_000) as site:
        alice = await site.client("/a")
        largest = message("/a", f'"{"x" * (100_000 - 10)}"')
        assert largest.ByteSize() == 100_000
        await site("Publish", messages=[largest])
        call = site.both_ways("Pipeline")
        frame = pipeline_pb2.PipelineRequest(operations=[{"publish": {"messages": [largest]}}])
        await call.write(frame.SerializeToString())
        assert (await call.read()).results[0].publish.results[0].matched_subscriptions == 1
        call.cancel()
        assert await site.taken(alice) == [largest.data] * 2


async def _turned_away(options: Sequence[tuple[str, int]]) -> int:
    """How many of many calls that come at once are not even answered with an error of the server's."""
    async with _bare(options) as address, grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/nowhere/Nothing")
        outcomes = await asyncio.gather(*[call(b"") for _ in range(300)], return_exceptions=True)
    codes = [one.code() for one in outcomes if isinstance(one, grpc.aio.AioRpcError)]
    assert len(codes) == len(outcomes)
    return len(codes) - codes.count(grpc.StatusCode.UNIMPLEMENTED)


async def test_the_bound_of_calls_that_come_at_once_is_one_that_the_library_knows() -> None:
    """With the server's own bound made smaller, calls are turned away."""
    smaller = [(key, 1 if "pending" in key else value) for key, value in _OPTIONS]
    hard = ("grpc.server.max_pending_requests_hard_limit", 2)
    assert await _turned_away([*_OPTIONS, hard]) == 0
    assert await _turned_away([*smaller, hard]) > 0


async def test_five_hundred_links_opened_at_once_all_open(site: Site) -> None:
    """When all front-ends come back together none is turned away."""
    calls = [RawLink(site.both_ways("Attach")) for _ in range(500)]

    async def opened(link: RawLink) -> None:
        await link.send(hello())
        await link.next("welcome")

    async with within():
        await asyncio.gather(*map(opened, calls))
    assert (await site("GetInfo")).holdings.links == 500
    for link in calls:
        link.call.cancel()


async def test_a_connection_has_so_many_calls_under_way(engine: str) -> None:
    """Further ones wait at the caller until one ends; those of other connections do not."""
    async with serving(max_streams_per_connection=3) as site:
        alice = await site.client()
        waiting = [site.stream("Watch") for _ in range(3)]
        for stream in waiting:
            await stream.read()
        more = asyncio.create_task(site("GetClient", client_id=alice))
        async with site.another_channel(use_local_subchannel_pool=1) as other:
            assert (await other("GetInfo")).engine == engine
        assert not more.done()
        waiting[0].cancel()
        assert (await more).client.client_id == alice
        for stream in waiting:
            stream.cancel()


async def test_streams_that_come_flat_out_are_refused(site: Site) -> None:
    """Whoever opens more than the server said it takes is told so for each, and costs the others nothing."""
    async with connected(site.address) as connection, asyncio.timeout(TIMEOUT):
        for number in range(3_000):
            connection.begin(2 * number + 1, path_of("Watch"))
        refused = 0
        while refused < 2_000:
            kind, _, payload = await connection.frame()
            refused += (kind, payload) == (RST_STREAM, struct.pack("!I", _ENHANCE_YOUR_CALM))
        assert (await site("GetInfo")).version


async def _kinds_after(address: str, pings: int, *, apart: float = 0.0) -> list[tuple[int, bytes]]:
    async with connected(address) as connection, asyncio.timeout(TIMEOUT):
        answers = []
        for _ in range(pings):
            answers.append(await connection.after_ping())
            if answers[-1][0] == GOAWAY:
                break
            await asyncio.sleep(apart)  # the server goes by the real time between two pings
        return answers


async def test_who_pings_without_pause_is_cut_off(site: Site) -> None:
    """The server defends itself: too many pings end the connection with ENHANCE_YOUR_CALM."""
    kind, payload = (await _kinds_after(site.address, 10))[-1]
    assert (kind, int.from_bytes(payload[4:8], "big")) == (GOAWAY, _ENHANCE_YOUR_CALM)
    assert payload.endswith(b"too_many_pings")


@asynccontextmanager
async def _bare(options: Sequence[tuple[str, int]], address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """A server without any service."""
    server = grpc.aio.server(options=options)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_the_keepalive_options_are_ones_that_the_library_knows() -> None:
    """With the pause of the server's own options made shorter, such pings are lived with; else they are not."""
    shortened = [(key, 20 if value == _MIN_PING_MS and "ping" in key else value) for key, value in _OPTIONS]
    assert shortened != _OPTIONS
    async with _bare(shortened) as address:
        assert {kind for kind, _ in await _kinds_after(address, 12, apart=0.05)} == {PING}
    async with _bare([]) as address:
        assert (await _kinds_after(address, 12, apart=0.05))[-1][0] == GOAWAY


async def test_a_client_that_is_dead_is_given_up() -> None:
    """When it does not answer a ping in time: with the times of the server's own options made shorter."""
    times = ("keepalive_time", "ping_timeout")
    shortened = [(key, value // 100 if any(name in key for name in times) else value) for key, value in _OPTIONS]

    async def read_to_the_end(connection: Http2) -> None:
        while True:
            await connection.frame()

    async with _bare(shortened) as address, connected(address) as connection:
        with pytest.raises(asyncio.IncompleteReadError):
            await asyncio.wait_for(read_to_the_end(connection), TIMEOUT)  # gRPC's own limit is a minute
