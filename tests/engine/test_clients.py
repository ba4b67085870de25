"""Sessions and namespaces."""

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, page, reason_of

from pixied_server.delivery.events import DetachReason
from pixied_server.engine.abc import Delivered
from pixied_server.errors import LimitClients, LimitNamespaces, NamespaceInUse, NamespaceUnknown, RateLimited, Reason

ALPHABET = set("abcdefghijklmnopqrstuvwxyz0123456789")


async def test_a_client_is_as_it_was_created(site: Site) -> None:
    """A new client has a secret id, its timeout and its attributes, and nothing else."""
    client = await site.engine.create_client(2.5, {"user": "ann"})
    assert len(client.client_id) >= 31
    assert set(client.client_id) <= ALPHABET
    assert (client.session_timeout, dict(client.attributes)) == (2.5, {"user": "ann"})
    assert (client.created_at, client.expires_at) == (site.clock(), site.clock() + 2.5)
    assert (client.subscriptions, client.pending, client.front_end) == (0, 0, "")
    assert await site.engine.get_client(client.client_id) == client


async def test_what_is_remembered_of_a_client_is_what_was_given(site: Site) -> None:
    """What becomes of the caller's mapping later changes nothing."""
    attributes = {"name": "ann"}
    created = await site.engine.create_client(60.0, attributes)
    attributes["name"] = "bob"
    assert dict((await site.engine.get_client(created.client_id)).attributes) == {"name": "ann"}


async def test_a_client_without_attributes_has_none(site: Site) -> None:
    """It has an empty table of them, and so has who looks at it."""
    client = await site.engine.create_client(60.0, {})
    assert dict(client.attributes) == {}


async def test_sessions_are_counted(site: Site) -> None:
    """Those that began, that were ended and that ended by themselves."""
    await site.create("ann", "bob", "cid")
    await site.create("dan", "eve", timeout=2.0)
    for name in ("ann", "bob"):
        await site.destroy(name)
    await site.elapse(2.1)
    counters = site.engine.counters
    assert (counters.clients_created, counters.clients_destroyed, counters.clients_expired) == (5, 2, 2)


async def test_an_unknown_client_is_refused_everywhere(site: Site) -> None:
    """Every operation on a client that never was, or is no more, says CLIENT_UNKNOWN and changes nothing."""
    await site.create("gone")
    await site.destroy("gone")
    site.ids["never"] = "never"
    before = await site.engine.holdings()
    for name in ("gone", "never"):
        client_id = site.ids[name]
        for operation in (
            site.look_at(name),
            site.ping(name),
            site.destroy(name),
            site.subscribe(name, "/a"),
            site.unsubscribe(name, "/a"),
            site.engine.subscribed_to(client_id),
            site.engine.client_subscribed(client_id, "/a"),
            site.queue_for(name, "1"),
            site.dequeue(name),
            site.dequeue(name, cursor="1"),
            site.engine.claim(client_id, "front", expires=False),
        ):
            assert await reason_of(operation) is Reason.CLIENT_UNKNOWN
    assert await site.engine.holdings() == before


async def test_an_error_does_not_tell_the_secret(site: Site) -> None:
    """The text of an error shows the beginning of a client's id at most."""
    await site.create("ann")
    await site.destroy("ann")
    with pytest.raises(Exception, match="no live client") as refused:
        await site.look_at("ann")
    assert site.ids["ann"][:16] not in str(refused.value)


async def test_a_session_ends_in_time(site: Site) -> None:
    """A session lives until its deadline and not 100 ms longer."""
    await site.create("ann", timeout=2.0)
    await site.elapse(1.99)
    assert await site.lives("ann")
    await site.elapse(0.1)
    assert (await site.engine.holdings()).clients == 0
    assert not await site.lives("ann")
    assert site.engine.counters.clients_expired == 1


async def test_a_session_is_over_at_its_deadline_though_no_one_looked(site: Site) -> None:
    """At the deadline a session is unknown even before the engine has cleared it away."""
    await site.create("ann", timeout=2.0)
    await site.subscribe("ann", "/a")
    site.clock.advance(2.0)
    assert (await site.engine.list_clients(page(), pattern="", front_end="")).items == []
    assert (await site.engine.subscribers_of("/a", page())).items == []
    assert not await site.lives("ann")


async def test_a_ping_begins_the_timeout_anew(site: Site) -> None:
    """A pinged session lives a whole timeout longer, and the ping says until when."""
    await site.create("ann", timeout=2.0)
    for _ in range(5):
        await site.elapse(1.5)
        assert await site.ping("ann") == site.clock() + 2.0
    await site.elapse(2.01)
    assert not await site.lives("ann")


async def test_many_sessions_end_together(site: Site) -> None:
    """Thousands of sessions that end at the same moment all end then."""
    for _ in range(1_000):
        await site.create("one of many", timeout=2.0)
    await site.elapse(2.1)
    assert (await site.engine.holdings()).clients == 0


async def test_a_held_client_does_not_expire(site: Site) -> None:
    """While a link holds a client its session does not end; when the link is gone the timeout begins anew."""
    await site.create("ann", timeout=2.0)
    front = site.front_end("web-1")
    await site.attach("ann", front)
    assert await site.ping("ann") is None
    await site.elapse(100.0)
    client = await site.look_at("ann")
    assert (client.expires_at, client.front_end) == (None, "web-1")
    await front.lose()
    assert (await site.look_at("ann")).front_end == ""
    await site.elapse(1.9)
    assert await site.lives("ann")
    await site.elapse(0.2)
    assert not await site.lives("ann")


async def test_a_held_client_may_be_left_to_expire(site: Site) -> None:
    """An attach with `expires` begins the timeout anew and then lets it run; pings prolong; its end is announced."""
    await site.create("ann", timeout=2.0)
    front = site.front_end()
    await site.elapse(1.5)
    await site.attach("ann", front, expires=True)
    await site.elapse(1.5)
    assert await site.ping("ann") == site.clock() + 2.0
    await site.elapse(1.9)
    await front.read()
    assert front.detached == []
    await site.elapse(0.2)
    await front.read()
    assert front.detached == [("ann", DetachReason.EXPIRED, "timed out")]


@pytest.mark.parametrize("cut", [True, False], ids=["lost", "detached"])
async def test_giving_up_a_client_that_may_expire_prolongs_nothing(site: Site, *, cut: bool) -> None:
    """A session that was attached with `expires` ends at its deadline, also if its link gives it up before."""
    await site.create("ann", timeout=2.0)
    front = site.front_end()
    await site.attach("ann", front, expires=True)
    await site.elapse(1.5)
    await (front.lose() if cut else front.detach("ann"))
    client = await site.look_at("ann")
    assert (client.front_end, client.expires_at) == ("", site.clock() + 0.5)
    await site.elapse(0.6)
    assert (await site.engine.holdings()).clients == 0


@pytest.mark.parametrize("expires", [True, False])
async def test_a_session_that_was_given_up_ends_by_itself(site: Site, *, expires: bool) -> None:
    """A session that a link, and after it a Deliver, held beyond its first deadline ends in time, unasked."""
    await site.create("ann", "bob", timeout=2.0)
    front = site.front_end()
    await site.attach("ann", front, expires=expires)
    async with site.tapped("bob"):
        for _ in range(4):
            await site.elapse(1.5)
            await site.ping("ann")
        await front.lose()
    await site.elapse(1.9)
    assert (await site.engine.holdings()).clients == 2
    await site.elapse(0.2)
    assert (await site.engine.holdings()).clients == 0
    assert site.engine.counters.clients_expired == 2


async def test_a_kept_client_that_is_claimed_to_expire_does(site: Site) -> None:
    """A claim that lets the timeout run ends in time, though the claim before it kept the client alive for long."""
    await site.create("ann", timeout=2.0)
    await site.engine.claim(site.ids["ann"], "one", expires=False)
    await site.elapse(10.0)
    await site.engine.claim(site.ids["ann"], "two", expires=True)
    await site.elapse(2.1)
    assert (await site.engine.holdings()).clients == 0


async def test_a_lost_claim_changes_nothing(site: Site) -> None:
    """A claim that is released after another took the client confirms nothing and frees nothing."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1")
    old = await site.engine.claim(site.ids["ann"], "old", expires=False)
    new = await site.engine.claim(site.ids["ann"], "new", expires=False)
    await site.engine.release(old, Delivered(site.hub.head, site.hub.head))
    client = await site.look_at("ann")
    assert (client.front_end, client.pending) == ("new", 1)
    reading = await new.read(messages=10, size=1_000, least=1)
    await site.engine.release(new, Delivered(reading.upto, reading.upto))
    client = await site.look_at("ann")
    assert (client.front_end, client.pending) == ("", 0)


async def test_the_end_of_a_session_takes_everything_along(site: Site) -> None:
    """With its last client go a channel, its messages, the client's queued messages and its id."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b/**")
    await site.subscribe("bob", "/a")
    await site.publish("/a", "1")
    await site.publish("/b/c", "2")
    await site.queue_for("ann", "3")
    await site.destroy("ann")
    held = await site.engine.holdings()
    assert (held.clients, held.channels, held.subscriptions, held.messages) == (1, 1, 1, 1)
    await site.destroy("bob")
    held = await site.engine.holdings()
    assert (held.clients, held.channels, held.subscriptions, held.messages, held.bytes) == (0, 0, 0, 0, 0)


async def test_no_more_clients_than_the_limit(open_site: OpenSite) -> None:
    """LIMIT_CLIENTS at the limit; when one has gone there is room again."""
    site = await open_site(Limits(clients=2))
    await site.create("ann", "bob")
    with pytest.raises(LimitClients, match="2 clients alive") as refused:
        await site.create("cid")
    assert refused.value.retry_after == 1.0
    await site.destroy("ann")
    await site.create("cid")


async def test_no_more_clients_a_second_than_the_limit(open_site: OpenSite) -> None:
    """RATE_LIMITED says when to come back, and that is true."""
    site = await open_site(Limits(creates_per_second=2.0))
    await site.create("ann", "bob")
    with pytest.raises(RateLimited, match="2 new clients") as refused:
        await site.create("cid")
    assert refused.value.retry_after == pytest.approx(0.5)
    await site.elapse(refused.value.retry_after)
    await site.create("cid")


async def test_a_client_for_which_there_is_no_room_does_not_count_for_the_rate(open_site: OpenSite) -> None:
    """Who was refused for another reason may create a client as soon as that is past."""
    site = await open_site(Limits(clients=1, creates_per_second=2.0))
    await site.create("ann")
    for _ in range(2):
        with pytest.raises(LimitClients):
            await site.create("bob")
    await site.destroy("ann")
    await site.create("bob")


async def test_namespaces_are_reserved_until_released(site: Site) -> None:
    """A namespace has its length and alphabet, is held, and can be released once."""
    namespace = await site.engine.generate_namespace(40)
    assert len(namespace) == 40
    assert set(namespace) <= ALPHABET
    assert (await site.engine.holdings()).namespaces == 1
    await site.engine.release_namespace(namespace)
    assert (await site.engine.holdings()).namespaces == 0
    with pytest.raises(NamespaceUnknown):
        await site.engine.release_namespace(namespace)


async def test_a_namespace_is_never_given_twice(open_site: OpenSite) -> None:
    """Short namespaces are unique while they last; then LIMIT_NAMESPACES."""
    site = await open_site()
    drawn = [await site.engine.generate_namespace(1) for _ in range(20)]
    assert len(set(drawn)) == 20
    # Where one is left, the draws may miss it: who asks again after a refusal may get it.
    with pytest.raises(LimitNamespaces) as full:
        await _draw_more_than_there_are(site)
    assert full.value.field == "length"
    assert (await site.engine.holdings()).namespaces <= 36
    limited = await open_site(Limits(namespaces=1))
    await limited.engine.generate_namespace(32)
    assert await reason_of(limited.engine.generate_namespace(32)) is Reason.LIMIT_NAMESPACES


async def _draw_more_than_there_are(site: Site) -> None:
    for _ in range(37):
        await site.engine.generate_namespace(1)


async def test_a_clients_id_is_a_namespace_in_use(site: Site) -> None:
    """A live client's id can't be released; a dead one's is not reserved."""
    await site.create("ann")
    with pytest.raises(NamespaceInUse):
        await site.engine.release_namespace(site.ids["ann"])
    await site.destroy("ann")
    with pytest.raises(NamespaceUnknown):
        await site.engine.release_namespace(site.ids["ann"])
