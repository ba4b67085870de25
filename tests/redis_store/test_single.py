"""A store of one server."""

import asyncio
import socket
import time
from unittest.mock import patch

import pytest
from tests.redis_store.conftest import TIMEOUT, Opened
from tests.redis_store.scripts import COUNT, FILL, KEYS, READ, REFUSE
from tests.support.caller import within
from tests.support.redis_servers import Certificates, Server, single
from tests.support.store_proxy import proxied_store

from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.store import (
    Script,
    ScriptError,
    Store,
    StoreFault,
    StoreFull,
    StoreRefuses,
    StoreUnavailable,
)
from pixied_server.engine.redis.connection.wire import Wire


async def test_calls_keep_their_order(server: Server, opened: Opened) -> None:
    """Scripts are run in the order of their calls, also many at once and also when the server does not know them."""
    async with opened(server.url) as store:
        replies = await asyncio.gather(*[store.run(KEYS, COUNT, []) for _ in range(1000)])
    assert replies == list(range(1, 1001))


async def test_arguments_and_replies_are_bytes(server: Server, opened: Opened) -> None:
    """Bytes that are no text go and come unchanged, numbers are numbers, and nothing is None."""
    echo = Script("#!lua\nreturn {ARGV[1], tonumber(ARGV[2]), ARGV[3], false, {KEYS[1]}}")
    async with opened(server.url) as store:
        reply = await store.run(KEYS, echo, [b"\xff\x00\r\n", -7, "ä"])
    assert reply == [b"\xff\x00\r\n", -7, "ä".encode(), None, [KEYS[0]]]


async def test_script_flush(server: Server, opened: Opened) -> None:
    """A server that has forgotten its scripts is sent them again."""
    async with opened(server.url) as store:
        assert await store.run(KEYS, COUNT, []) == 1
        server("SCRIPT", "FLUSH")
        assert await asyncio.gather(*[store.run(KEYS, COUNT, []) for _ in range(9)]) == list(range(2, 11))


async def test_own_refusals(server: Server, opened: Opened) -> None:
    """What a script refuses is its caller's business; what breaks in it is a fault."""
    broken = Script("#!lua\nreturn nil + 1")
    async with opened(server.url) as store:
        with pytest.raises(ScriptError) as refusal:
            await store.run(KEYS, REFUSE, [])
        assert refusal.value.text == "NOT_YOURS another owns it"
        with pytest.raises(StoreFault, match="nil value"):
            await store.run(KEYS, broken, [])
        server("HSET", KEYS[0], "a", "b")
        with pytest.raises(StoreFault, match="WRONGTYPE"):
            await store.run(KEYS, COUNT, [])


async def test_a_script_that_breaks_half_way_is_not_run_again(server: Server, opened: Opened) -> None:
    """Though its command's error is one that stands for nothing done, where it is the answer to a command alone."""
    half = Script("#!lua\nredis.call('INCR', KEYS[1])\nerror({err = 'TRYAGAIN later'})")
    async with opened(server.url) as store:
        with pytest.raises(StoreFault, match="TRYAGAIN"):
            await store.run(KEYS, half, [])
        assert await store.run(KEYS, READ, []) == b"1"


async def test_restart(opened: Opened) -> None:
    """A killed server's calls fail at once and may have been done; later ones wait for its return, and then are."""
    with single(aof=True) as server:
        async with opened(server.url) as store:
            counted, first = await store.run_on(KEYS, COUNT, [])
            assert counted == 1
            server.freeze()
            waiting = asyncio.create_task(store.run(KEYS, COUNT, []))
            await asyncio.sleep(0)
            server.kill()
            with pytest.raises(StoreUnavailable, match=r"broke|in time") as failure:
                await waiting
            assert failure.value.ambiguous
            later = asyncio.create_task(store.run(KEYS, READ, []))
            await asyncio.to_thread(server.start)
            assert await later in {b"1", b"2"}
            _, then = await store.run_on(KEYS, READ, [])
            assert "" != then.server != first.server


async def test_unreachable(server: Server, opened: Opened) -> None:
    """A server that is not there is waited for as long as the timeout, by 50 callers together; nothing was done."""
    async with opened(server.url, timeout=0.5) as store:
        server.kill()
        # The first may still find the connection that is about to break.
        with pytest.raises(StoreUnavailable):
            await store.run(KEYS, COUNT, [])
        began = time.monotonic()
        outcomes = await asyncio.gather(*[store.run(KEYS, COUNT, []) for _ in range(50)], return_exceptions=True)
        assert 0.4 < time.monotonic() - began < 20
    for failure in outcomes:
        assert isinstance(failure, StoreUnavailable)
        assert not failure.ambiguous
        assert server.address in str(failure)


async def test_cannot_open(server: Server, opened: Opened) -> None:
    """A store that is not reached within its timeout says where it should be, and why it is not reached."""
    server.kill()
    with pytest.raises(StoreUnavailable, match=f"{server.address}.*(refused|Connect)"):
        async with opened(server.url, timeout=0.2):
            pass


async def test_a_connection_that_is_given_up_before_it_is_ready_is_closed() -> None:
    """A server that greets, and then says nothing, sees the end of the connection when nobody waits for it any more."""
    greeted, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writer.write(b"*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n")
        await reader.read(1_000)
        greeted.set()
        assert not await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        host, port = listener.sockets[0].getsockname()
        opening = asyncio.create_task(Store(Address.parse(f"redis://{host}:{port}/0"), timeout=TIMEOUT).open())
        async with within():
            await greeted.wait()
            opening.cancel()
            await asyncio.wait([opening])
            await ended.wait()


async def test_frozen(server: Server, opened: Opened) -> None:
    """A server that stands still delays no call beyond the timeout, and serves again as soon as it runs."""
    async with opened(server.url, timeout=0.5) as store:
        assert await store.run(KEYS, COUNT, []) == 1
        server.freeze()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as failure:
            await store.run(KEYS, READ, [])
        assert failure.value.ambiguous
        with pytest.raises(StoreUnavailable) as failure:
            await store.run(KEYS, READ, [])
        assert not failure.value.ambiguous
        assert time.monotonic() - began < 20
        server.thaw()
        assert await store.run(KEYS, READ, []) == b"1"


async def test_cancelled_calls(server: Server, opened: Opened) -> None:
    """Replies that nobody waits for any more are not taken for others'."""
    async with opened(server.url) as store:
        await store.run(KEYS, COUNT, [])
        given_up = [asyncio.create_task(store.run(KEYS, COUNT, [])) for _ in range(10)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        assert await store.run(KEYS, COUNT, []) == 12
        assert all(task.cancelled() for task in given_up)


async def test_full(opened: Opened) -> None:
    """A store without memory says so, does nothing, still reads, and takes again what fits."""
    with single(maxmemory="8mb") as server:
        async with opened(server.url) as store:
            with pytest.raises(StoreFull, match="maxmemory"):
                await _fill(store)
            assert len(await store.run(KEYS, READ, [])) % 1_000_000 == 0
            server("DEL", KEYS[0])
            assert await store.run(KEYS, COUNT, []) == 1


async def test_becomes_a_replica(server: Server, opened: Opened) -> None:
    """A server that takes no writes for a moment is tried again, and nothing was done meanwhile."""
    async with opened(server.url) as store:
        server("REPLICAOF", "127.0.0.1", 1)
        waiting = asyncio.create_task(store.run(KEYS, COUNT, []))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        server("REPLICAOF", "NO", "ONE")
        assert await waiting == 1


async def test_a_server_whose_machine_is_gone_is_noticed(server: Server, opened: Opened) -> None:
    """By TCP, within 25 seconds, also on a connection that only listens."""
    with patch.object(Wire, "connection_made", autospec=True, side_effect=Wire.connection_made) as made:
        async with opened(server.url) as store:
            await store.run(KEYS, COUNT, [])
            pubsub = await store.pubsub(KEYS[0])
            for _, transport in [call.args for call in made.call_args_list]:
                connected = transport.get_extra_info("socket")
                assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                assert [connected.getsockopt(socket.IPPROTO_TCP, one) for one in options] == [10, 5, 3]
            assert made.call_count == 2
            await pubsub.close()


async def test_unix_socket(server: Server, opened: Opened) -> None:
    """A unix socket is as good as a port, and a database has its own keys."""
    async with opened(f"unix://{server.socket}?db=3") as store:
        assert await store.run(KEYS, COUNT, []) == 1
        assert await store.node_of(KEYS[0]) == str(server.socket)
    assert not server("EXISTS", KEYS[0])


async def test_tls_and_user(certified: Certificates, opened: Opened) -> None:
    """Over TLS, with a user who may no more than is needed; others are refused at once, and no password is shown."""
    rule = "pixied on >hunter2 ~test* &test* -@all +eval +evalsha +incr +info"
    files = f"?ca={certified.ca}&cert={certified.certificate}&key={certified.key}"
    with single(tls=certified, user=rule) as server:
        url = server.address + "/0" + files
        async with opened(f"rediss://pixied:hunter2@{url}") as store:
            assert await store.run(KEYS, COUNT, []) == 1
            with pytest.raises(StoreFault, match=r"can't run this command|no permissions to run the 'get' command"):
                await store.run(KEYS, READ, [])
            with pytest.raises(StoreRefuses, match="NOPERM"):
                await store.run([b"other{a}"], COUNT, [])
        began = time.monotonic()
        with pytest.raises(StoreRefuses, match="WRONGPASS") as refusal:
            async with opened(f"rediss://pixied:hunter3@{url}", timeout=60.0):
                pass
        assert time.monotonic() - began < 20
        assert "hunter3" not in str(refusal.value)
        with pytest.raises(StoreRefuses, match="NOAUTH"):
            async with opened(f"rediss://{url}"):
                pass


async def test_a_password_without_a_user(opened: Opened) -> None:
    """It is the default user's."""
    with single() as server:
        server("CONFIG", "SET", "requirepass", "hunter2")
        async with opened(f"redis://:hunter2@{server.address}") as store:
            assert await store.run(KEYS, COUNT, []) == 1
        with pytest.raises(StoreRefuses, match="WRONGPASS"):
            async with opened(f"redis://:hunter3@{server.address}"):
                pass


async def test_a_server_that_ends_each_connection(server: Server) -> None:
    """The error says what happens there, for as long as the timeout."""
    async with proxied_store(server) as (proxy, url):
        proxy.cut(refuse=True)
        store = Store(Address.parse(url), timeout=0.3)
        with pytest.raises(StoreUnavailable, match=r"broke.*tried for 0.3 s"):
            await store.open()
        await store.close()
        await asyncio.sleep(0.1)  # in which the proxy ends what it has just accepted


async def test_certificate_that_nobody_vouches_for(certified: Certificates, opened: Opened) -> None:
    """A server whose certificate is not of a trusted authority is not talked to."""
    with single(tls=certified) as server:
        files = f"?cert={certified.certificate}&key={certified.key}"
        with pytest.raises(StoreUnavailable, match="certificate"):
            async with opened(f"rediss://{server.address}{files}", timeout=0.5):
                pass


async def _fill(store: Store) -> None:
    for _ in range(100):
        await store.run(KEYS, FILL, [b"x" * 1_000_000])
