"""Audiences: who gets a message, kept ready until someone comes or goes."""

import pytest
from tests.counts.counting import blocks
from tests.support.memory import alive

from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.delivery.audience import Audience, AudienceLimits, Audiences


def audiences_of(*patterns: str, handles: int, limits: AudienceLimits | None = None) -> Audiences:
    """Audiences of so many handles, each with all of these patterns."""
    audiences = Audiences(lambda _: None, lambda _: None, limits or AudienceLimits())
    for pattern in patterns:
        for handle in range(handles):
            audiences.add(pattern, handle, 0)
    return audiences


def ask(audiences: Audiences, channel: str) -> Audience:
    """Who gets a message on a channel."""
    return audiences.of(Entry(1, 0.0, Message(channel, b"1")))


def most_kept(handles: int, limits: AudienceLimits) -> int:
    """Of how many channels at most, of 40 asked for one after the other, the audiences are the same when asked again.

    Each channel matches two patterns with so many handles. When there is no room for one more all are made anew, so the
    number goes up and down with that of the channels.
    """
    return max(kept(audiences_of("/**", "/room/*", handles=handles, limits=limits), many) for many in range(20, 40))


def kept(audiences: Audiences, many: int) -> int:
    """Of how many channels, of so many asked for one after the other, the audiences are the same when asked again."""
    rooms = [f"/room/{number}" for number in range(many)]
    first = [ask(audiences, room) for room in rooms]
    return sum(ask(audiences, room) is audience for room, audience in reversed(list(zip(rooms, first, strict=True))))


def test_an_audience_is_made_once() -> None:
    """Of one pattern or of several, it is the same object until someone comes or goes, and then another one."""
    audiences = audiences_of("/**", "/room/*", handles=3)
    for channel in ("/hall", "/room/1"):
        before = ask(audiences, channel)
        assert before.handles == (0, 1, 2)
        assert ask(audiences, channel) is before
        audiences.add("/**", 3, 0)
        assert ask(audiences, channel).handles == (0, 1, 2, 3)
        audiences.discard("/**", 3)
        assert ask(audiences, channel).handles == (0, 1, 2)
        assert before.handles == (0, 1, 2)


@pytest.mark.parametrize("pattern", ["/room/1", "/room/**"])
def test_a_pattern_more_or_less_makes_another_audience(pattern: str) -> None:
    """The first recipient of a further pattern gets what matches it, and the last one of it gets nothing more."""
    audiences = audiences_of("/**", "/room/*", handles=3)
    assert set(ask(audiences, "/room/1").handles) == {0, 1, 2}
    audiences.add(pattern, 7, 0)
    assert set(ask(audiences, "/room/1").handles) == {0, 1, 2, 7}
    audiences.discard(pattern, 7)
    assert set(ask(audiences, "/room/1").handles) == {0, 1, 2}


def test_no_more_channels_than_the_limit() -> None:
    """However many channels there are, the audiences of so many are kept ready."""
    assert most_kept(1, AudienceLimits()) == 39
    assert most_kept(1, AudienceLimits(channels=7)) == 7


@pytest.mark.parametrize(("handles", "channels"), [(10, 10), (30, 3), (60, 1), (300, 1)])
def test_no_more_handles_than_the_limit(handles: int, channels: int) -> None:
    """With room for 100 handles the audiences of as many channels are kept as have so many in all, or of one."""
    assert most_kept(handles, AudienceLimits(handles=100)) == channels


def test_a_channel_that_changes_takes_the_room_of_one() -> None:
    """An audience that is made anew replaces the one before it: no other has to go for it, nor may more stay."""
    audiences = audiences_of("/**", "/room/*", handles=10, limits=AudienceLimits(handles=100))
    audiences.add("/changes/*", 0, 0)
    audiences.add("/quiet/*", 0, 0)
    quiet = ask(audiences, "/quiet/1")
    for handle in range(1, 200):
        audiences.add("/changes/*", handle % 5, 0)
        assert len(ask(audiences, "/changes/1")) == 10
    assert ask(audiences, "/quiet/1") is quiet
    assert max(kept(audiences, many) for many in range(20, 40)) <= 10


def test_who_came_is_expected_no_more() -> None:
    """What a pattern kept for a handle until it was added takes no memory after that."""
    kept = []
    for expected in (False, True):
        audiences = audiences_of(handles=0)
        with blocks() as used:
            for number in range(500):
                if expected:
                    audiences.expect(f"/{number}", 1)
                audiences.add(f"/{number}", 1, 0)
        kept.append(used.kept)
    assert kept[1] - kept[0] < 50


def test_who_leaves_takes_patterns_along() -> None:
    """A pattern is followed from its first recipient, also an expected one, until its last one leaves."""
    steps: list[str] = []
    audiences = Audiences(lambda it: steps.append("+" + it), lambda it: steps.append("-" + it), AudienceLimits())
    audiences.expect("/a", 1)
    audiences.add("/a", 1, 0)
    audiences.expect("/a", 2)
    audiences.discard("/a", 1)
    assert steps == ["+/a"]
    audiences.discard("/a", 2)
    audiences.discard("/a", 2)
    assert steps == ["+/a", "-/a"]
    audiences.add("/a", 1, 0)
    assert steps == ["+/a", "-/a", "+/a"]


@pytest.mark.parametrize(("channels", "handles", "most"), [(12_000, 1, 10_000), (300, 10_000, 200)])
def test_by_default_no_more_than_some_megabytes_are_kept_ready(channels: int, handles: int, most: int) -> None:
    """The audiences of 10,000 channels, or 2,000,000 handles in them."""
    before = alive(Audience)
    audiences = audiences_of("/**", "/*", handles=handles)
    for number in range(channels):
        ask(audiences, f"/{number}")
    assert alive(Audience) - before <= most + 2
