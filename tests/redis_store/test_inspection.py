"""What is found about servers before they are relied on."""

import pytest
from tests.redis_store.conftest import Opened
from tests.redis_store.scripts import KEYS
from tests.support.redis_servers import Cluster, Server, Trio, single

from pixied_server.engine.redis.connection.inspection import inspected
from pixied_server.engine.redis.connection.store import Severity
from pixied_server.engine.redis.connection.wire import Command, Refusal


async def test_nothing_to_find(opened: Opened) -> None:
    """A server that writes down what it answers and evicts nothing is as it should be."""
    with single(aof=True) as server:
        async with opened(server.url) as store:
            assert await store.inspect(KEYS[0]) == []


async def test_no_file(server: Server, opened: Opened) -> None:
    """A server that keeps no append-only file is risky."""
    async with opened(server.url) as store:
        (found,) = await store.inspect(KEYS[0])
    assert found.severity is Severity.WARNING
    assert "appendonly yes" in found.text
    assert server.address in found.text


async def test_eviction_and_sync(opened: Opened) -> None:
    """A server that may evict is wrong; one that leaves it to the system when to write is risky."""
    with single(appendonly="yes", appendfsync="no", maxmemory_policy="allkeys-lru") as server:
        async with opened(server.url) as store:
            found = {one.severity: one.text for one in await store.inspect(KEYS[0])}
    assert "allkeys-lru" in found[Severity.ERROR]
    assert "appendfsync is no" in found[Severity.WARNING]


async def test_less_memory_than_messages_may_take(opened: Opened) -> None:
    """A server with less memory than `max_total_bytes` will refuse messages before old ones go."""
    with single(aof=True, maxmemory=50_000_000) as server:
        async with opened(server.url) as store:
            assert await store.inspect(KEYS[0], total_bytes=50_000_000) == []
            (found,) = await store.inspect(KEYS[0], total_bytes=50_000_001)
    assert found.severity is Severity.WARNING
    assert "50,000,000 bytes" in found.text
    assert "50,000,001 of messages" in found.text


async def test_the_servers_of_a_cluster_share_the_messages(a_cluster: Cluster, opened: Opened) -> None:
    """Each server of a cluster needs room for its share."""
    async with opened(a_cluster.url) as store:
        for server in a_cluster.masters:
            server("CONFIG", "SET", "maxmemory", "50000000")
        try:
            enough = await store.inspect(KEYS[0], total_bytes=150_000_000)
            found = await store.inspect(KEYS[0], total_bytes=150_000_003)
        finally:
            for server in a_cluster.masters:
                server("CONFIG", "SET", "maxmemory", "0")
    assert not [one for one in enough if "maxmemory" in one.text]
    assert len([one for one in found if "maxmemory" in one.text]) == 3


async def test_a_master_behind_sentinels(trio: Trio, opened: Opened) -> None:
    """It alone is looked at, and it is as good as a server that has no Sentinels."""
    async with opened(trio.url) as store:
        assert len(await store.inspect(KEYS[0], replicas=2)) == 1
        found = await store.inspect(KEYS[0], replicas=3)
    assert [one.severity for one in found] == [Severity.WARNING, Severity.WARNING]
    assert any("it has 2 replicas and 3 are wanted" in one.text for one in found)
    assert all(one.text.startswith(f"{trio.master.address}: ") for one in found)


async def test_what_a_user_may_not(opened: Opened) -> None:
    """Commands and keys that a user may not use are named; what could not be checked is said."""
    with single(aof=True, user="pixied on >secret ~test* &* +@all -xadd -spublish -config") as server:
        async with opened(f"redis://pixied:secret@{server.address}") as store:
            error, warning = await store.inspect(KEYS[0])
            assert error.severity is Severity.ERROR
            assert "SPUBLISH, XADD." in error.text
            assert "could not be checked" in warning.text
            assert any("with our keys" in one.text for one in await store.inspect(b"foreign{a}"))


async def test_a_renamed_command(opened: Opened) -> None:
    """A command that the server does not know by its name is named."""
    with single(aof=True, rename_command='XADD ""') as server:
        async with opened(server.url) as store:
            (found,) = await store.inspect(KEYS[0])
    assert "XADD" in found.text


async def test_the_wrong_kind_of_address(a_cluster: Cluster, opened: Opened) -> None:
    """A cluster's server under a single server's address is wrong, and the right one is named."""
    master = a_cluster.masters[0]
    async with opened(master.url) as store:
        assert any("redis+cluster://" in one.text for one in await store.inspect(KEYS[0]))


async def test_each_server_of_a_cluster(a_cluster: Cluster, opened: Opened) -> None:
    """A cluster's servers are all looked at, though only one of them has the key: there is no file, and no more."""
    async with opened(a_cluster.url) as store:
        found = await store.inspect(KEYS[0])
    assert len(found) == 3
    assert all("appendonly yes" in one.text for one in found)


_GOOD = {
    "redis_version": "7.0.0",
    "role": "master",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "connected_slaves": "1",
    "aof_enabled": "1",
}


@pytest.mark.parametrize(
    ("info", "severity", "says"),
    [
        ({}, None, ""),
        ({"redis_version": "10.1.2"}, None, ""),
        ({"redis_version": "7.0"}, None, ""),
        ({"redis_version": "6.2.14"}, Severity.ERROR, "its version is 6.2.14;"),
        ({"redis_version": ""}, Severity.ERROR, "its version is unknown;"),
        ({"role": "slave"}, Severity.ERROR, "it is a replica"),
        ({"cluster_enabled": "1"}, Severity.ERROR, "redis+cluster://"),
        ({"maxmemory_policy": None}, Severity.WARNING, "does not tell its maxmemory-policy"),
        ({"maxmemory_policy": "volatile-lru"}, Severity.ERROR, "maxmemory-policy is volatile-lru"),
        ({"maxmemory": "1000"}, None, ""),
        ({"maxmemory": "999"}, Severity.WARNING, "its maxmemory is 999 bytes and it may have to hold 1,000"),
        ({"connected_slaves": "0"}, Severity.WARNING, "it has 0 replicas and 1 are wanted"),
        ({"connected_slaves": None}, Severity.WARNING, "it has 0 replicas and 1 are wanted"),
        ({"aof_enabled": "0"}, Severity.WARNING, "appendonly yes"),
        ({"aof_enabled": None}, Severity.WARNING, "appendonly yes"),
    ],
)
async def test_what_a_server_says_of_itself(info: dict[str, str | None], severity: Severity | None, says: str) -> None:
    """A server that is as it should be but for one thing is found wrong, or risky, for that alone."""
    fields = {name: value for name, value in (_GOOD | info).items() if value is not None}
    answers = {b"EVAL": [], b"INFO": "".join(f"{name}:{value}\r\n" for name, value in fields.items()).encode()}

    async def ask(command: Command) -> object:
        return answers.get(command[0], [b"appendfsync", b"everysec"])  # type: ignore[call-overload]

    found = await inspected("node", ask, KEYS[0], has_key=True, cluster=False, replicas=1, room=1_000)
    assert [one.severity for one in found] == ([severity] if severity else [])
    for one in found:
        assert one.text.startswith("node: ")
        assert says in one.text


async def test_what_a_server_does_not_say() -> None:
    """Where it refuses to tell, that is what is found."""

    async def ask(command: Command) -> object:
        return [] if command[0] == b"EVAL" else Refusal("NOPERM no")

    found = await inspected("node", ask, KEYS[0], has_key=True, cluster=False, replicas=0, room=0)
    assert [one.severity for one in found] == [Severity.WARNING]
    assert "INFO can't be read" in found[0].text
