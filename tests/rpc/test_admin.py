"""AdminService: what the server is and holds, in pages, and with filters."""

from time import time
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.caller import within
from tests.support.link import linked
from tests.support.refusals import refused
from tests.support.site import Site, serving

from pixied.v1 import pipeline_pb2


async def _pages(site: Site, rpc: str, items: str, **query: Any) -> list[list[Any]]:
    """All pages of a list, from the first to the last."""
    pages, token = [], ""
    while not pages or token:
        answer = await site(rpc, page_token=token, **query)
        pages.append(list(getattr(answer, items)))
        token = answer.next_page_token
    return pages


async def test_information_of_an_idle_server(site: Site, engine: str) -> None:
    """It tells its version, engine and start, and that it holds and did nothing."""
    info = await site("GetInfo")
    assert (info.engine, info.draining) == (engine, False)
    assert info.version
    assert abs(info.started_at.ToNanoseconds() / 1e9 - time()) < 60
    assert not any(getattr(info.holdings, one.name) for one in info.holdings.DESCRIPTOR.fields)
    assert not any(getattr(info.counters, one.name) for one in info.counters.DESCRIPTOR.fields)


async def test_information_counts(site: Site) -> None:
    """Holdings are what there is now, counters what was done."""
    alice, bob = await site.client("/a", "/b"), await site.client("/a")
    await site("GenerateNamespace")
    await site.publish("/a", "1", idempotency_key="k")
    await site.publish("/a", "1", idempotency_key="k")
    await site("QueueFor", client_id=bob, messages=[{"channel": "/service/x", "data": "2"}])
    await site("DestroyClient", client_id=bob)
    await site.taken(alice)
    info = await site("GetInfo")
    holdings, counters = info.holdings, info.counters
    assert (holdings.clients, holdings.channels, holdings.subscriptions, holdings.namespaces) == (1, 2, 2, 1)
    assert (counters.published, counters.duplicates, counters.queued, counters.delivered) == (1, 1, 1, 1)
    assert (counters.clients_created, counters.clients_destroyed, counters.clients_expired) == (2, 1, 0)


async def test_information_counts_what_is_kept_and_what_has_ended(site: Site) -> None:
    """Messages and their bytes while they wait for someone; sessions that ran out apart from those that were ended."""
    await site.client("/a")
    await site.publish("/a", "1", f'"{"x" * 1_000}"')
    holdings = (await site("GetInfo")).holdings
    assert (holdings.messages, holdings.bytes > 1_000) == (2, True)
    watcher = site.stream("Watch", kinds=["EVENT_KIND_CLIENT_DESTROYED"])
    await watcher.read()
    await site.client(session_timeout=Duration(nanos=100_000_000))
    async with within():
        await watcher.read()
    watcher.cancel()
    counters = (await site("GetInfo")).counters
    assert (counters.clients_created, counters.clients_destroyed, counters.clients_expired) == (2, 0, 1)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_clients_in_pages(site: Site, size: int) -> None:
    """Pages of any size give every client once, ascending by id."""
    clients = sorted([await site.client() for _ in range(7)])
    pages = await _pages(site, "ListClients", "clients", page_size=size)
    assert [one.client_id for page in pages for one in page] == clients
    assert max(map(len, pages)) <= size


async def test_clients_that_come_and_go_while_one_pages(site: Site) -> None:
    """Whoever lives all the while is listed once, whatever happens between two pages."""
    clients = sorted([await site.client() for _ in range(10)])
    first = await site("ListClients", page_size=5)
    await site("DestroyClient", client_id=first.clients[-1].client_id)
    await site.client()
    rest = await site("ListClients", page_token=first.next_page_token)
    assert [one.client_id for one in (*first.clients, *rest.clients) if one.client_id in clients] == clients


async def test_clients_by_filter(site: Site) -> None:
    """The filters for subscriptions and front-ends are combined."""
    alice, bob, carol = await site.client("/a/1"), await site.client("/a/2"), await site.client("/b")
    async with linked(site, "edge-1") as link:
        await link.attach(alice, 1)
        await link.attach(carol, 2)

        async def listed(**query: str) -> set[str]:
            return {one.client_id for one in (await site("ListClients", **query)).clients}

        assert await listed(channel_pattern="/a/*") == {alice, bob}
        assert await listed(channel_pattern="/**") == {alice, bob, carol}
        assert await listed(front_end="edge-1") == {alice, carol}
        assert await listed(channel_pattern="/a/**", front_end="edge-1") == {alice}
        assert await listed(front_end="edge-2") == set()


async def test_a_page_token_is_good_for_its_own_front_end_only(site: Site) -> None:
    """A token of another front-end's clients, or of all clients, is refused rather than a wrong page."""
    async with linked(site, "edge-1") as link:
        for handle in (1, 2):
            await link.attach(await site.client(), handle)
        tokens = {
            one: (await site("ListClients", page_size=1, front_end=one)).next_page_token for one in ("", "edge-1")
        }
        assert all(tokens.values())
        for made_for, used_for in (("edge-1", ""), ("edge-1", "edge-2"), ("", "edge-1")):
            refusal = await refused(site("ListClients", front_end=used_for, page_token=tokens[made_for]))
            assert refusal.reason == "PAGE_TOKEN_INVALID"
        assert len((await site("ListClients", front_end="edge-1", page_token=tokens["edge-1"])).clients) == 1


async def test_channels_in_pages_and_by_filter(site: Site) -> None:
    """Channels and patterns, ascending, with subscribers and what their logs hold."""
    for channels in (("/a/1", "/a/*"), ("/a/1", "/b/**"), ("/c",)):
        await site.client(*channels)
    await site.publish("/a/1", "1", "2")
    pages = await _pages(site, "ListChannels", "channels", page_size=3)
    listed = [(one.channel, one.subscribers, one.messages) for page in pages for one in page]
    assert listed == [("/a/*", 1, 2), ("/a/1", 2, 2), ("/b/**", 1, 0), ("/c", 1, 0)]
    assert all(one.bytes > 0 for page in pages for one in page if one.messages)
    met = await _pages(site, "ListChannels", "channels", channel_pattern="/a/**")
    assert [one.channel for page in met for one in page] == ["/a/*", "/a/1"]


async def test_a_long_list_of_heavy_clients_fits_into_any_clients_limit(site: Site) -> None:
    """600 clients with 8 KB of attributes each are 5 MB: a page ends at about 1 MB and has a next one."""
    heavy = {"attributes": {"k": "x" * 8_190}}
    create = pipeline_pb2.PipelineRequest(operations=[{"create_client": heavy}] * 600)
    call = site.both_ways("Pipeline")
    await call.write(create.SerializeToString())
    created = 0
    while created < 600:
        created += len((await call.read()).results)
    call.cancel()
    pages = await _pages(site, "ListClients", "clients", page_size=10_000)
    assert len({one.client_id for page in pages for one in page}) == sum(map(len, pages)) == 600
    assert len(pages) == 5


async def test_limits_are_refused_in_their_own_words() -> None:
    """RESOURCE_EXHAUSTED says which limit, names its value, and when to try again where that helps."""
    async with serving(max_clients=1, max_subscriptions_per_client=1, max_namespaces=1) as site:
        alice = await site.client()
        await site("GenerateNamespace")
        for rpc, fields, reason, says in (
            ("CreateClient", {}, "LIMIT_CLIENTS", "limit of 1 clients"),
            ("Subscribe", {"client_id": alice, "channels": ["/a", "/b"]}, "LIMIT_SUBSCRIPTIONS", "more than 1"),
            ("GenerateNamespace", {}, "LIMIT_NAMESPACES", "max_namespaces (1)"),
        ):
            refusal = await refused(site(rpc, **fields))
            assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", reason)
            assert says in refusal.text
        assert (await site("GetInfo")).holdings.subscriptions == 0


async def test_what_a_log_may_have_is_a_setting() -> None:
    """So many bytes: what is beyond them is announced as lost."""
    async with serving(max_log_bytes=2_000, max_message_bytes=1_024) as site:
        alice = await site.client("/a")
        await site.publish("/a", *[f'"{"x" * 900}"'] * 5)
        taken = await site("DequeueFor", client_id=alice)
        assert 1 <= len(taken.messages) <= 2
        assert len(taken.messages) + taken.lost == 5


async def test_how_large_a_request_may_be_is_a_setting() -> None:
    """A smaller one than usual is refused, though each of its messages is as it may be."""
    async with serving(max_request_bytes=100_000, max_message_bytes=50_000) as site:
        refusal = await refused(site.publish("/a", *[f'"{"x" * 40_000}"'] * 5))
        assert refusal.code == "RESOURCE_EXHAUSTED"
        await site.publish("/a", f'"{"x" * 40_000}"')


async def test_which_channels_there_are_is_a_setting() -> None:
    """CometD's wider names are admitted where it says so, to subscribe and to publish."""
    async with serving(cometd_channels=True) as site:
        alice = await site.client("/chat.room/{1} +#")
        await site.publish("/chat.room/{1} +#", "1")
        assert await site.taken(alice) == ["1"]


async def test_memory_and_rates_are_limited() -> None:
    """A batch beyond all memory, or more calls than a second may have, is refused; the latter with RetryInfo."""
    small = {"max_total_bytes": 4_096, "max_log_bytes": 4_096, "max_message_bytes": 4_096}
    async with serving(**small, max_creates_per_second=1, max_publishes_per_second=2) as site:
        await site.client("/a")
        refusal = await refused(site("CreateClient"))
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert 0 < (refusal.retry_after or 0) <= 1
        refusal = await refused(site.publish("/a", *[f'"{"x" * 3_000}"'] * 2))
        assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "LIMIT_MEMORY")
        await site.publish("/a", "1", "2")
        assert (await refused(site.publish("/a", "3"))).reason == "RATE_LIMITED"


async def test_ten_thousand_is_the_largest_page(site: Site) -> None:
    """One page may have 10,000 items, and the list of the subscribers pages as the others do."""
    for _ in range(5):
        await site.client("/a")
    whole = await _pages(site, "SubscribersOf", "client_ids", channel_pattern="/a", page_size=10_000)
    by_two = await _pages(site, "SubscribersOf", "client_ids", channel_pattern="/a", page_size=2)
    assert [one for page in by_two for one in page] == whole[0]
    assert (len(whole), len(by_two)) == (1, 3)
