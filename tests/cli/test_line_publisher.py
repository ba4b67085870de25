"""Publishing many lines: order, batches, refusals, and nothing passed over in silence."""

from collections.abc import Mapping, Sequence

import grpc
import pytest

from pixied_client import ChannelInvalid, LimitMemory, Message, PixiedError, PublishResult, RateLimited, Unavailable
from pixied_server.cli.line_publisher import LinePublisher, batches

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


class Publisher:
    """What the server does with a call: all of it or, for the errors it was given, none."""

    def __init__(self, errors: Mapping[str, Sequence[PixiedError]] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.errors = {data: list(given) for data, given in (errors or {}).items()}
        self.reports: list[tuple[int, str]] = []
        self.pauses: list[float] = []

    def publish(self, messages: Sequence[Message]) -> list[PublishResult]:
        """Publishes, or fails for the first message with an error left."""
        for message in messages:
            if self.errors.get(message.data):
                raise self.errors[message.data].pop()
        self.calls.append([message.data for message in messages])
        return [PublishResult(2, duplicate=False)] * len(messages)

    def lines(self) -> LinePublisher:
        """One that publishes here."""
        return LinePublisher(
            self.publish, lambda number, reason: self.reports.append((number, reason)), self.pauses.append
        )

    def published(self) -> list[str]:
        """All payloads, in order."""
        return [data for call in self.calls for data in call]


def send(publisher: Publisher, *arriving: Sequence[str]) -> LinePublisher:
    sent = publisher.lines()
    raw = [[text.encode() for text in lines] for lines in arriving]
    for batch in batches(raw):
        sent.send(batch)
    return sent


def line(data: int) -> str:
    return f'{{"channel": "/a", "data": {data}}}'


def test_what_has_arrived_is_one_batch() -> None:
    """Lines that came together are published together, without waiting for more."""
    publisher = Publisher()
    sent = send(publisher, [line(1), line(2)], [line(3)])
    assert publisher.calls == [["1", "2"], ["3"]]
    assert (sent.published, sent.matched, sent.refused, sent.lines) == (3, 6, 0, 3)


def test_a_batch_fits_into_one_call() -> None:
    """A batch has at most 500 messages and about 1 MB; a larger line goes alone."""
    long = '{"channel": "/a", "data": "' + "x" * 600_000 + '"}'
    assert [len(batch) for batch in batches([[line(1).encode()] * 1_001])] == [500, 500, 1]
    assert [len(batch) for batch in batches([[long.encode()] * 3])] == [1, 1, 1]
    assert [batch[0].number for batch in batches([[b""] * 501])] == [1, 501]


def test_bad_lines_are_reported_with_their_numbers_and_the_rest_is_published() -> None:
    """A line that is no message is named; those before and after it go on, in order."""
    publisher = Publisher()
    sent = publisher.lines()
    for batch in batches([[line(1).encode(), b"nonsense", b"", b"\xff", line(2).encode()]]):
        sent.send(batch)
    assert publisher.published() == ["1", "2"]
    assert [number for number, _ in publisher.reports] == [2, 4]
    assert "UTF-8" in publisher.reports[1][1]
    assert (sent.published, sent.refused, sent.lines) == (2, 2, 5)


@pytest.mark.parametrize("bad", [[1], [4], [7], [2, 3], [1, 7], [1, 2, 3, 4, 5, 6, 7]])
def test_what_the_server_refuses_is_found_and_the_rest_is_published_in_order(bad: list[int]) -> None:
    """A refused batch is halved until the lines to blame stand alone."""
    errors = {str(data): [ChannelInvalid(f"bad {data}", code=INVALID)] * 9 for data in bad}
    publisher = Publisher(errors)
    sent = send(publisher, [line(data) for data in range(1, 8)])
    assert publisher.published() == [str(data) for data in range(1, 8) if data not in bad]
    assert publisher.reports == [(data, f"bad {data}") for data in bad]
    assert (sent.published, sent.refused) == (7 - len(bad), len(bad))


def test_a_server_without_room_refuses_lines() -> None:
    """LIMIT_MEMORY refuses the line that does not fit."""
    publisher = Publisher({"1": [LimitMemory("full", code=EXHAUSTED)]})
    assert send(publisher, [line(1)]).refused == 1


def test_a_limited_rate_slows_down_and_loses_nothing() -> None:
    """RATE_LIMITED is waited for, as long as the server says, and then everything is published in order."""
    limited = [RateLimited("slow down", code=EXHAUSTED, retry_after=0.25), RateLimited("slow", code=EXHAUSTED)]
    publisher = Publisher({"2": limited})
    sent = send(publisher, [line(data) for data in range(1, 5)])
    assert publisher.published() == ["1", "2", "3", "4"]
    assert publisher.pauses == [0.5, 0.25]
    assert sent.refused == 0


def test_a_lone_line_waits_for_a_limited_rate_as_long_as_it_takes() -> None:
    """One line can't be halved, and is tried again."""
    publisher = Publisher({"1": [RateLimited("slow", code=EXHAUSTED)] * 50})
    assert send(publisher, [line(1)]).published == 1
    assert len(publisher.pauses) == 50


def test_a_server_that_is_gone_ends_it() -> None:
    """No line is to blame for a server that does not answer; what was done is known."""
    publisher = Publisher({"2": [Unavailable("gone")]})
    sent = publisher.lines()
    arriving = [[line(1).encode()], [line(2).encode()]]
    first, second = batches(arriving)
    sent.send(first)
    with pytest.raises(Unavailable):
        sent.send(second)
    assert (sent.published, sent.lines) == (1, 1)
