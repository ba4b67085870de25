"""Subscriptions: who has which, and what comes and goes with them."""

import pytest
from tests.engine.benches import Limits
from tests.engine.conftest import OpenSite
from tests.engine.site import Site, page, texts

from pixied_server.errors import LimitSubscriptions


async def test_subscribing_twice_is_subscribing_once(site: Site) -> None:
    """Subscribe answers what is new, in order, each once; Unsubscribe what there was."""
    await site.create("ann")
    assert await site.subscribe("ann", "/b", "/a", "/b") == ["/b", "/a"]
    assert await site.subscribe("ann", "/a", "/c") == ["/c"]
    assert await site.engine.subscribed_to(site.ids["ann"]) == ["/a", "/b", "/c"]
    assert await site.unsubscribe("ann", "/c", "/x", "/a", "/c") == ["/c", "/a"]
    assert await site.engine.subscribed_to(site.ids["ann"]) == ["/b"]
    assert (await site.look_at("ann")).subscriptions == 1


async def test_a_subscription_is_to_exactly_this(site: Site) -> None:
    """ClientSubscribed tells of the very pattern, not of what it matches."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a/*")
    await site.subscribe("bob", "/a/b")
    assert await site.engine.client_subscribed(site.ids["ann"], "/a/*")
    assert not await site.engine.client_subscribed(site.ids["ann"], "/a/b")
    assert not await site.engine.client_subscribed(site.ids["ann"], "/nowhere")


async def test_too_many_subscriptions_are_none(open_site: OpenSite) -> None:
    """LIMIT_SUBSCRIPTIONS changes nothing; what the client has already does not count twice."""
    site = await open_site(Limits(subscriptions_per_client=2))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    with pytest.raises(LimitSubscriptions):
        await site.subscribe("ann", "/b", "/c")
    assert await site.engine.subscribed_to(site.ids["ann"]) == ["/a"]
    assert await site.subscribe("ann", "/a", "/b") == ["/b"]


async def test_only_what_comes_after_a_subscription(site: Site) -> None:
    """A subscriber gets what is published after Subscribe was answered, and nothing from before."""
    await site.create("ann", "bob")
    await site.subscribe("bob", "/a")
    await site.publish("/a", "before")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "after")
    assert texts(await site.dequeue("ann")) == ["after"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_each_subscription_begins_where_its_log_ends(site: Site, *, at_once: bool) -> None:
    """The first of a client's subscriptions as well as the fourth, whatever their logs held before."""
    patterns = ["/a", "/b", "/c", "/d"]
    await site.create("ann", "bob")
    await site.subscribe("bob", *patterns)
    for pattern in patterns:
        await site.publish(pattern, "before")
    for number, pattern in enumerate(patterns):
        if at_once:
            await site.subscribe("ann", *patterns)
        else:
            await site.subscribe("ann", pattern)
        assert (await site.look_at("ann")).pending == number
        await site.publish(pattern, str(number))
    assert texts(await site.dequeue("ann")) == ["0", "1", "2", "3"]
    await site.unsubscribe("ann", *patterns[:3])
    for pattern in patterns:
        await site.publish(pattern, "4")
    await site.subscribe("ann", *patterns)
    assert texts(await site.dequeue("ann")) == ["4"]


async def test_a_further_subscription_leaves_the_others_as_they_are(site: Site) -> None:
    """What is pending of a client's subscriptions stays pending while others come and go."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "0")
    for number, pattern in enumerate(["/b", "/c", "/d"], 1):
        await site.subscribe("ann", pattern)
        await site.publish(pattern, str(number))
    assert (await site.look_at("ann")).pending == 4
    await site.unsubscribe("ann", "/c", "/d")
    assert (await site.look_at("ann")).pending == 2
    await site.unsubscribe("ann", "/b")
    assert texts(await site.dequeue("ann")) == ["0"]


async def test_unsubscribing_gives_up_what_is_pending(site: Site) -> None:
    """What is pending of the pattern goes, unless another subscription has it too."""
    await site.create("ann")
    await site.subscribe("ann", "/a/*", "/a/b")
    await site.publish("/a/b", "both")
    await site.publish("/a/c", "one")
    await site.unsubscribe("ann", "/a/*")
    assert (await site.look_at("ann")).pending == 1
    assert texts(await site.dequeue("ann")) == ["both"]
    await site.publish("/a/b", "more")
    await site.unsubscribe("ann", "/a/b")
    await site.subscribe("ann", "/a/b")
    assert texts(await site.dequeue("ann")) == []


async def test_subscribers_of_a_channel_are_whom_a_publish_reaches(site: Site) -> None:
    """For a channel: everyone whose pattern matches it, each once, ascending."""
    await site.create("ann", "bob", "cid", "dan")
    await site.subscribe("ann", "/a/b", "/a/**")
    await site.subscribe("bob", "/a/*")
    await site.subscribe("cid", "/**")
    await site.subscribe("dan", "/a", "/a/b/c")
    found = await site.engine.subscribers_of("/a/b", page())
    assert found.items == sorted(site.ids[name] for name in ("ann", "bob", "cid"))
    assert found.next_token == ""


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("/a/*", {"ann", "bob", "cid"}), ("/**", {"ann", "bob", "cid", "dan"}), ("/b/**", {"cid"}), ("/a/b/**", {"cid"})],
)
async def test_subscribers_of_a_pattern_are_those_who_meet_it(site: Site, pattern: str, expected: set[str]) -> None:
    """For a pattern: everyone with a subscription that has a channel name in common with it."""
    await site.create("ann", "bob", "cid", "dan")
    await site.subscribe("ann", "/a/b")
    await site.subscribe("bob", "/a/*")
    await site.subscribe("cid", "/**")
    await site.subscribe("dan", "/a")
    found = await site.engine.subscribers_of(pattern, page())
    assert set(found.items) == {site.ids[name] for name in expected}


async def test_lists_come_in_pages(site: Site) -> None:
    """Subscribers, clients and channels in pages of any size are the whole list, ascending."""
    names = [f"client {number}" for number in range(7)]
    await site.create(*names)
    for number, name in enumerate(names):
        await site.subscribe(name, "/all", f"/own/{number}")
    ids = sorted(site.ids.values())
    for size in (1, 3, 7, 100):
        subscribers, clients, channels = [], [], []
        token, first = "", True
        while token or first:
            found = await site.engine.subscribers_of("/all", page(size, token))
            token, first = found.next_token, False
            subscribers += found.items
        first = True
        while token or first:
            some = await site.engine.list_clients(page(size, token), pattern="", front_end="")
            token, first = some.next_token, False
            clients += [client.client_id for client in some.items]
        first = True
        while token or first:
            part = await site.engine.list_channels(page(size, token), pattern="")
            token, first = part.next_token, False
            channels += [channel.pattern for channel in part.items]
        assert subscribers == clients == ids
        assert channels == ["/all", *(f"/own/{number}" for number in range(7))]


async def test_clients_can_be_filtered(site: Site) -> None:
    """By a pattern that their subscriptions meet, by the front-end that holds them, and by both."""
    await site.create("ann", "bob", "cid")
    await site.subscribe("ann", "/a/b")
    await site.subscribe("bob", "/a/**")
    front = site.front_end("web-1")
    await site.attach("bob", front)
    await site.attach("cid", front)

    async def found(pattern: str, front_end: str) -> set[str]:
        clients = await site.engine.list_clients(page(), pattern=pattern, front_end=front_end)
        return {name for name, client_id in site.ids.items() if client_id in [one.client_id for one in clients.items]}

    assert await found("/a/*", "") == {"ann", "bob"}
    assert await found("", "web-1") == {"bob", "cid"}
    assert await found("/a/b", "web-1") == {"bob"}
    assert await found("", "web-2") == set()


async def test_channels_tell_what_they_hold(site: Site) -> None:
    """A channel is listed with its subscribers and its log; a filter leaves out what does not meet it."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a", "/b/**")
    await site.subscribe("bob", "/a")
    await site.publish("/a", "1", "2")
    both = (await site.engine.list_channels(page(), pattern="/**")).items
    assert [(one.pattern, one.subscribers, one.messages) for one in both] == [("/a", 2, 2), ("/b/**", 1, 0)]
    assert both[0].bytes == (await site.engine.holdings()).bytes > 0
    assert [one.pattern for one in (await site.engine.list_channels(page(), pattern="/b/x")).items] == ["/b/**"]
