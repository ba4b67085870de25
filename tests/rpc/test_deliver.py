"""Deliver and DequeueFor: one client's messages, without a link."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.caller import message, until, within
from tests.support.link import linked
from tests.support.refusals import refused
from tests.support.site import Site, serving

from pixied.v1 import attach_pb2
from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT

_LONG = Duration(seconds=60)


def _data(answer: Any) -> list[str]:
    return [one.data for one in answer.messages]


async def _data_from(stream: Any, count: int) -> list[str]:
    """The next so many messages of a stream."""
    found: list[str] = []
    async with within():
        while len(found) < count:
            found += _data(await stream.read())
    return found


async def test_the_first_answer_comes_at_once(site: Site) -> None:
    """With nothing pending it is empty: from then on the stream holds the client."""
    alice = await site.client("/a", session_timeout=Duration(seconds=1))
    stream = site.stream("Deliver", client_id=alice)
    first = await stream.read()
    assert not first.messages
    described = (await site("GetClient", client_id=alice)).client
    assert (described.front_end, described.HasField("expires_at")) == ("Deliver", False)
    stream.cancel()
    await until(lambda: site.is_held_by(alice, ""))


async def test_pending_messages_come_first_then_live(site: Site) -> None:
    """Published and queued messages arrive in order, and once."""
    alice = await site.client("/a", "/*")
    await site.publish("/a", "1", "2")
    stream = site.stream("Deliver", client_id=alice)
    assert await _data_from(stream, 2) == ["1", "2"]
    await site("QueueFor", client_id=alice, messages=[message("/service/x", "3")])
    await site.publish("/a", "4")
    assert await _data_from(stream, 2) == ["3", "4"]


async def test_subscriptions_made_while_it_streams_count(site: Site) -> None:
    """What is published after Subscribe was answered arrives; after Unsubscribe nothing does."""
    alice = await site.client()
    stream = site.stream("Deliver", client_id=alice)
    await stream.read()
    await site("Subscribe", client_id=alice, channels=["/a", "/b"])
    await site.publish("/a", "1")
    assert await _data_from(stream, 1) == ["1"]
    await site("Unsubscribe", client_id=alice, channels=["/a"])
    await site.publish("/a", "2")
    await site.publish("/b", "3")
    assert await _data_from(stream, 1) == ["3"]


async def test_explicit_messages_stay_until_their_cursor_is_named(site: Site) -> None:
    """A second Deliver gets it again, marked, from behind the cursor that it names."""
    alice = await site.client("/a")
    await site.publish("/a", "1", "2")
    one = site.stream("Deliver", client_id=alice, ack_mode=ACK_MODE_EXPLICIT)
    cursor = (await one.read()).cursor
    await site.publish("/a", "3")
    assert await _data_from(one, 1) == ["3"]
    two = site.stream("Deliver", client_id=alice, ack_mode=ACK_MODE_EXPLICIT, ack_cursor=cursor)
    again = await two.read()
    assert (_data(again), again.redelivered) == (["3"], 1)


async def test_automatic_messages_are_gone_once_handed_out(site: Site) -> None:
    """After an answer has been read and another one came, the first is confirmed."""
    alice = await site.client("/a")
    await site.publish("/a", "1")
    stream = site.stream("Deliver", client_id=alice)
    assert await _data_from(stream, 1) == ["1"]
    await site.publish("/a", "2")
    assert await _data_from(stream, 1) == ["2"]
    stream.cancel()
    await until(lambda: site.is_held_by(alice, ""))
    assert await site.taken(alice) == []


@pytest.mark.parametrize("taker", ["Deliver", "DequeueFor", "Attach"])
@pytest.mark.parametrize("owner", ["Deliver", "DequeueFor"])
async def test_the_last_to_take_a_client_wins(site: Site, owner: str, taker: str) -> None:
    """Whoever held it ends with TAKEN_OVER, and the messages go to the winner."""
    alice = await site.client("/a")
    if owner == "Deliver":
        stream = site.stream("Deliver", client_id=alice)
        await stream.read()
        losing = asyncio.create_task(refused(stream.read()))
    else:
        losing = asyncio.create_task(refused(site("DequeueFor", client_id=alice, wait=Duration(seconds=20))))
    await until(lambda: site.is_held_by(alice, owner))
    async with linked(site) as link:
        if taker == "Attach":
            await link.attach(alice, 1)
        elif taker == "Deliver":
            await site.stream("Deliver", client_id=alice).read()
        else:
            await site("DequeueFor", client_id=alice)
        async with within():
            refusal = await losing
    assert (refusal.code, refusal.reason) == ("ABORTED", "TAKEN_OVER")
    assert alice not in refusal.text


async def test_a_dequeue_takes_a_client_from_a_link(site: Site) -> None:
    """The link is told that it was taken over."""
    alice = await site.client("/a")
    async with linked(site) as link:
        await link.attach(alice, 1)
        assert await site.taken(alice) == []
        assert (await link.next("detached")).reason == attach_pb2.DETACH_REASON_TAKEN_OVER


@pytest.mark.parametrize("owner", ["Deliver", "DequeueFor"])
async def test_a_destroyed_client_ends_who_waits_for_its_messages(site: Site, owner: str) -> None:
    """CLIENT_UNKNOWN, at once."""
    alice = await site.client("/a")
    if owner == "Deliver":
        stream = site.stream("Deliver", client_id=alice)
        await stream.read()
        waiting = asyncio.create_task(refused(stream.read()))
    else:
        waiting = asyncio.create_task(refused(site("DequeueFor", client_id=alice, wait=Duration(seconds=20))))
    await until(lambda: site.is_held_by(alice, owner))
    await site("DestroyClient", client_id=alice)
    async with within():
        assert (await waiting).reason == "CLIENT_UNKNOWN"


async def test_a_long_poll_ends_with_the_first_message(site: Site) -> None:
    """DequeueFor that waits is answered when something comes, long before its wait is over."""
    alice = await site.client("/a")
    polling = asyncio.create_task(site.taken(alice, wait=_LONG))
    await until(lambda: site.is_held_by(alice, "DequeueFor"))
    await site.publish("/a", "1")
    async with within():
        assert await polling == ["1"]


async def test_a_long_poll_is_answered_with_no_more_than_it_asked_for(site: Site) -> None:
    """The rest stays."""
    alice = await site.client("/a")
    polling = asyncio.create_task(site.taken(alice, wait=_LONG, max_messages=2))
    await until(lambda: site.is_held_by(alice, "DequeueFor"))
    await site.publish("/a", "1", "2", "3")
    async with within():
        assert await polling == ["1", "2"]
    assert await site.taken(alice) == ["3"]


async def test_who_does_not_wait_is_answered_at_once(site: Site) -> None:
    """With nothing, if nothing is pending: one call after the other, more than there is time to wait in."""
    alice = await site.client("/a")
    async with within():
        for _ in range(100):
            assert await site.taken(alice) == []


async def test_a_long_poll_ends_empty_when_its_wait_is_over(site: Site) -> None:
    """Not before, and with nothing; the session does not expire meanwhile."""
    alice = await site.client("/a", session_timeout=Duration(seconds=1))
    began = monotonic()
    assert await site.taken(alice, wait=Duration(seconds=1, nanos=300_000_000)) == []
    assert monotonic() - began >= 1.3
    await site("PingClient", client_ids=[alice])


async def test_a_cancelled_long_poll_leaves_the_client_free(site: Site) -> None:
    """Its front-end went away: the client is no one's, and messages that come later are kept."""
    alice = await site.client("/a")
    polling = asyncio.create_task(site.taken(alice, wait=_LONG))
    await until(lambda: site.is_held_by(alice, "DequeueFor"))
    polling.cancel()
    await asyncio.wait((polling,))
    await until(lambda: site.is_held_by(alice, ""))
    await site.publish("/a", "1")
    assert await site.taken(alice) == ["1"]


async def test_dequeue_in_explicit_mode(site: Site) -> None:
    """Messages stay until their cursor is named, come again marked, and the cursor works in either mode."""
    alice = await site.client("/a")
    await site.publish("/a", "1", "2", "3")
    first = await site("DequeueFor", client_id=alice, max_messages=2, ack_mode=ACK_MODE_EXPLICIT)
    assert (_data(first), first.redelivered) == (["1", "2"], 0)
    again = await site("DequeueFor", client_id=alice, ack_mode=ACK_MODE_EXPLICIT)
    assert (_data(again), again.redelivered) == (["1", "2", "3"], 2)
    assert await site.taken(alice, ack_cursor=first.cursor) == ["3"]
    assert await site.taken(alice) == []


async def test_an_answer_ends_at_about_a_megabyte(site: Site) -> None:
    """Whoever has 5 MB pending takes it in several answers, each within any client's limit."""
    alice = await site.client("/a")
    for number in range(10):
        await site.publish("/a", f'"{number}{"x" * 500_000}"')
    counts = []
    while sum(counts) < 10:
        answer = await site("DequeueFor", client_id=alice)
        assert answer.ByteSize() < 1_100_000
        counts.append(len(answer.messages))
    assert min(counts) >= 1


async def test_what_was_lost_is_told() -> None:
    """Both calls name the pattern and how many messages its log has dropped."""
    async with serving(max_log_messages=2) as site:
        for call in ("DequeueFor", "Deliver"):
            alice = await site.client("/a")
            await site.publish("/a", *map(str, range(5)))
            answer = await (site(call, client_id=alice) if call == "DequeueFor" else _first(site, alice))
            assert _data(answer) == ["3", "4"]
            assert (answer.lost, [(gap.channel, gap.lost) for gap in answer.gaps]) == (3, [("/a", 3)])


async def test_a_long_poll_is_answered_at_once_where_all_was_lost() -> None:
    """Messages that their log dropped before the call are announced without a wait for further ones."""
    async with serving(max_log_age=0.05) as site:
        alice = await site.client("/a")
        await site.publish("/a", "1", "2", "3")
        await until(lambda: _has_nothing_pending(site, alice))
        answer = await site("DequeueFor", client_id=alice, wait=_LONG)
        assert _data(answer) == []
        assert (answer.lost, [(gap.channel, gap.lost) for gap in answer.gaps]) == (3, [("/a", 3)])


async def _has_nothing_pending(site: Site, client_id: str) -> bool:
    return not (await site("GetClient", client_id=client_id)).client.pending


async def _first(site: Site, client_id: str) -> Any:
    return await site.stream("Deliver", client_id=client_id).read()
