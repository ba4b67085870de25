"""Values and their conversion."""

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta

import pytest

import pixied_client
from pixied.v1 import admin_service_pb2, attach_pb2, message_pb2, operations_pb2, watch_pb2
from pixied_client import Client, Counters, Delivery, DetachReason, Event, EventKind, Holdings, Message, convert


def test_message_of_value() -> None:
    """`Message.of` writes JSON without blanks and escapes, and `value` reads it back."""
    message = Message.of("/chat", {"text": "grüß", "n": [1, None]}, id="7")
    assert message.data == '{"text":"grüß","n":[1,null]}'
    assert message.value == {"text": "grüß", "n": [1, None]}
    assert message.id == "7"


def test_values_are_frozen() -> None:
    """A value can't be changed."""
    with pytest.raises(FrozenInstanceError):
        Message("/chat", "1").data = "2"  # type: ignore[misc]


def test_secrets_are_not_shown() -> None:
    """No `repr` shows a client id or an idempotency key."""
    now = datetime.now(UTC)
    client = Client("secret", now, None, timedelta(1), 0, 0, "", {})
    event = Event(now, EventKind.SUBSCRIBED, "secret", "/a", "", "", 0, "")
    message = Message("/a", "1", client_id="secret", idempotency_key="secret")
    assert "secret" not in f"{client}{event}{message}"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.5, (1, 500_000_000)),
        (timedelta(milliseconds=300), (0, 300_000_000)),
        (60, (60, 0)),
        (0.1 + 0.2, (0, 300_000_000)),
        (-1.25, (-1, -250_000_000)),
        (0.9999999999, (1, 0)),
    ],
)
def test_duration(seconds: float | timedelta, expected: tuple[int, int]) -> None:
    """A duration is rounded to the nanosecond, and its parts have the same sign."""
    duration = convert.duration(seconds)
    assert duration
    assert (duration.seconds, duration.nanos) == expected


def test_no_duration() -> None:
    """No duration stays none: the server's default."""
    assert convert.duration(None) is None


@pytest.mark.parametrize("wrong", [float("inf"), float("nan"), 1e300])
def test_impossible_duration(wrong: float) -> None:
    """A duration that is no number of seconds is a ValueError of the caller."""
    with pytest.raises(ValueError, match=r"finite|range"):
        convert.duration(wrong)


def test_absent_and_empty_members() -> None:
    """A message's absent members are None, its empty ones are not."""
    message = convert.message_from(message_pb2.Message(channel="/a", data="1", id="", extra="{}"))
    assert (message.id, message.ext, message.extra) == ("", None, "{}")


def test_a_message_says_nothing_by_itself() -> None:
    """But its channel and its data; nobody is left out of it unless it is said."""
    plain = Message("/a", "1")
    assert convert.message_out(plain, keyed=False) == message_pb2.Message(channel="/a", data="1")
    assert plain == Message("/a", "1", None, None, None, "", exclude_publisher=False, idempotency_key="")


def test_a_delivery_names_no_cursor_by_itself() -> None:
    """Nor a gap: one that a program makes, for its own tests, is like one that has neither."""
    assert Delivery((), redelivered=False, number=1) == Delivery((), redelivered=False, number=1, gaps=(), cursor=0)


def test_a_message_shows_no_secret() -> None:
    """Its repr shows neither its publisher's id nor its key."""
    shown = repr(Message("/a", "1", client_id="whose", idempotency_key="which"))
    assert "/a" in shown
    assert "whose" not in shown
    assert "which" not in shown


def test_keys() -> None:
    """A message gets a key if it has none and shall have one, and keeps the one it has."""
    message = Message("/a", "1")
    keys = {convert.message_out(message, keyed=True).idempotency_key for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {22}  # 128 random bits, 6 to a character
    assert convert.message_out(message, keyed=False).idempotency_key == ""
    assert convert.message_out(Message("/a", "1", idempotency_key="mine"), keyed=True).idempotency_key == "mine"


def test_same_numbers_as_the_contract() -> None:
    """The enumerations have the contract's numbers and names."""
    for ours, theirs, prefix in (
        (EventKind, watch_pb2.EventKind, "EVENT_KIND_"),
        (DetachReason, attach_pb2.DetachReason, "DETACH_REASON_"),
    ):
        contract = {number: name.removeprefix(prefix) for name, number in theirs.items() if number}
        assert {member.value: member.name for member in ours if member.value > 0} == contract


def test_newer_servers() -> None:
    """What a newer server names and this SDK does not know is UNKNOWN."""
    assert EventKind(99) is EventKind.UNKNOWN
    assert DetachReason(99) is DetachReason.UNKNOWN


def test_same_fields_as_the_contract() -> None:
    """No field of the contract's values is forgotten."""
    for ours, theirs in (
        (Client, operations_pb2.Client),
        (Holdings, admin_service_pb2.Holdings),
        (Counters, admin_service_pb2.Counters),
        (pixied_client.Channel, admin_service_pb2.Channel),
        (pixied_client.ServerInfo, admin_service_pb2.GetInfoResponse),
        (pixied_client.Messages, operations_pb2.DequeueForResponse),
        (Message, message_pb2.Message),
    ):
        assert [field.name for field in fields(ours)] == [field.name for field in theirs.DESCRIPTOR.fields]


def test_missed_events() -> None:
    """The first event after a hole bears how many were missed, the others none."""
    stamp = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    frame = watch_pb2.WatchResponse()
    for _ in range(2):
        frame.events.add(kind=watch_pb2.EVENT_KIND_PUBLISHED).at.FromDatetime(stamp)
    events = convert.events_from(frame, 5)
    assert [event.missed for event in events] == [5, 0]
    assert events[0].at == stamp
