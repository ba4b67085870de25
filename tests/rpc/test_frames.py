"""Frames put together from encoded parts are, to the byte or in meaning, what protobuf itself would have made."""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict
from hypothesis import example, given
from hypothesis import strategies as st

from pixied.v1 import attach_pb2 as wire
from pixied.v1 import message_pb2, operations_pb2
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.delivery.audience import Audience
from pixied_server.delivery.events import (
    Attached,
    AttachFailed,
    Batch,
    Closing,
    Delivery,
    Detached,
    DetachReason,
    Heartbeat,
    LinkEvent,
    Lost,
)
from pixied_server.errors import ClientUnknown
from pixied_server.rpc.convert import message_in
from pixied_server.rpc.frames import CLOSING_REASON, FRAME_BYTES, attach_frames, field, messages_field, tag
from pixied_server.rpc.status import status_of

_texts = st.text(st.characters(codec="utf-8"), max_size=300)
_wire_messages = st.builds(
    message_pb2.Message,
    channel=_texts,
    data=_texts,
    id=st.none() | _texts,
    ext=st.none() | _texts,
    extra=st.none() | _texts,
)
_handles = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20, unique=True)
_wire_batches = st.builds(
    wire.Batch,
    messages=st.lists(_wire_messages, min_size=1, max_size=5),
    handles=_handles,
    redelivered=st.booleans(),
    cursor=st.integers(1, 2**53 - 1),
)
_wire_deliveries = st.builds(
    wire.Delivery, number=st.integers(1, 2**64 - 1), batches=st.lists(_wire_batches, min_size=1, max_size=5)
)


def _entry(message: message_pb2.Message) -> Entry:
    return Entry(1, 0.0, Message(message.channel, message.SerializeToString()))


def _delivery(delivery: wire.Delivery) -> Delivery:
    batches = [
        Batch([_entry(one) for one in batch.messages], Audience(batch.handles), batch.redelivered, batch.cursor)
        for batch in delivery.batches
    ]
    return Delivery(delivery.number, batches)


@given(_wire_deliveries)
def test_a_delivery_is_encoded_as_protobuf_would(delivery: wire.Delivery) -> None:
    """Joining encoded messages and handles gives the very bytes."""
    expected = wire.AttachResponse(events=[wire.AttachEvent(delivery=delivery)]).SerializeToString()
    assert b"".join(attach_frames([_delivery(delivery)])) == expected


@given(_wire_deliveries)
def test_an_audience_that_is_encoded_already_gives_the_same(delivery: wire.Delivery) -> None:
    """The second time the audience's bytes are reused."""
    event = _delivery(delivery)
    assert list(attach_frames([event])) == list(attach_frames([event]))


@given(st.lists(_wire_messages, max_size=10))
def test_the_messages_of_an_answer_are_encoded_as_protobuf_would(messages: list[message_pb2.Message]) -> None:
    """DequeueFor, Deliver and Batch have their messages in the same field."""
    encoded = messages_field(_entry(one) for one in messages)
    for kind in (operations_pb2.DequeueForResponse, operations_pb2.DeliverResponse, wire.Batch):
        assert encoded == kind(messages=messages).SerializeToString()


@given(st.integers(1, 2**29 - 1), st.integers(0, 70_000))
@example(1, 1_023)
@example(1, 1_024)
def test_a_field_is_its_tag_its_length_and_its_bytes(number: int, length: int) -> None:
    """Tags and lengths of several bytes are what the encoding of the wire format says."""
    encoded = field(tag(number), bytes(length))
    head, rest = _varint(encoded)
    size, payload = _varint(rest)
    assert (head, size, payload) == (number << 3 | 2, length, bytes(length))


def _varint(encoded: bytes) -> tuple[int, bytes]:
    """The number at the front, read as the encoding's documentation describes it, and what follows."""
    number = 0
    for index, byte in enumerate(encoded):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, encoded[index + 1 :]
    raise EOFError


def _decoded(events: Sequence[LinkEvent]) -> list[wire.AttachEvent]:
    return [event for frame in attach_frames(events) for event in wire.AttachResponse.FromString(frame).events]


def test_every_event_says_what_it_means() -> None:
    """Each event of a link becomes the contract's of the same name, in order; attached neighbours become one."""
    unknown = ClientUnknown("0123456789abcdefghijklmnopqrstuv")
    events = [
        *[Attached(1), Attached(2), AttachFailed(3, unknown), Attached(4)],
        *[Detached(handle, reason, f"detail {handle}") for handle, reason in enumerate(DetachReason)],
        *[Lost((5, 6), "/a", 7), Lost((8,), "", 9), Heartbeat(), Closing(1_234)],
    ]
    reasons = [wire.DetachReason.Value(f"DETACH_REASON_{reason.name}") for reason in DetachReason]
    assert _decoded(events) == [
        wire.AttachEvent(attached=wire.Attached(handles=[1, 2])),
        wire.AttachEvent(attach_failed=wire.AttachFailed(handle=3, error=status_of(unknown))),
        wire.AttachEvent(attached=wire.Attached(handles=[4])),
        *[
            wire.AttachEvent(detached=wire.Detached(handle=handle, reason=reason, detail=f"detail {handle}"))
            for handle, reason in enumerate(reasons)
        ],
        wire.AttachEvent(gap=wire.ClientGap(handles=[5, 6], gap=message_pb2.Gap(channel="/a", lost=7))),
        wire.AttachEvent(gap=wire.ClientGap(handles=[8], gap=message_pb2.Gap(lost=9))),
        wire.AttachEvent(heartbeat=wire.Heartbeat()),
        wire.AttachEvent(closing=message_pb2.Closing(reason=CLOSING_REASON, reconnect_after_ms=1_234)),
    ]


def test_every_reason_for_a_detach_is_the_contracts() -> None:
    """The domain and the contract name the same reasons."""
    in_contract = {name.removeprefix("DETACH_REASON_") for name in wire.DetachReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert {reason.name for reason in DetachReason} == in_contract


def _alone(number: int, body: message_pb2.Message) -> Delivery:
    return Delivery(number, [Batch([_entry(body)], Audience((1,)), redelivered=False)])


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=12))
def test_frames_are_closed_at_a_megabyte(sizes: list[int]) -> None:
    """A frame is at most about 1 MB or one event; nothing is lost or moved by splitting."""
    bodies = [message_pb2.Message(channel="/a", data="x" * size) for size in sizes]
    events = [_alone(number, body) for number, body in enumerate(bodies, 1)]
    frames = list(attach_frames(events))
    assert all(len(frame) < FRAME_BYTES * 1.01 for frame in frames)
    numbers = [event.delivery.number for frame in frames for event in wire.AttachResponse.FromString(frame).events]
    assert numbers == list(range(1, len(sizes) + 1))
    assert len(frames) <= 2 * sum(sizes) // FRAME_BYTES + 1


def test_one_event_larger_than_a_frame_is_a_frame() -> None:
    """What can't be split is sent as it is."""
    large = _alone(1, message_pb2.Message(data="x" * 2_000_000))
    assert [len(_decoded([event])) for event in (large, Heartbeat())] == [1, 1]
    assert len(list(attach_frames([Heartbeat(), large, Heartbeat()]))) == 3


@given(_wire_messages, _texts, st.booleans(), _texts)
def test_what_subscribers_get_has_no_secret(
    message: message_pb2.Message,
    publisher: str,
    exclude: bool,  # noqa: FBT001 - drawn by hypothesis
    key: str,
) -> None:
    """A stored message is the published one without the publisher's id, its wish and its key."""
    published = message_pb2.Message.FromString(message.SerializeToString())
    published.MergeFrom(message_pb2.Message(client_id=publisher, exclude_publisher=exclude, idempotency_key=key))
    stored = message_in(published)
    assert message_pb2.Message.FromString(stored.body) == message
    assert (stored.publisher, stored.exclude_publisher, stored.key) == (publisher, exclude, key)
    assert not {"clientId", "excludePublisher", "idempotencyKey"} & set(
        MessageToDict(message_pb2.Message.FromString(stored.body))
    )


def test_a_frame_that_is_closed_has_several_events() -> None:
    """Each frame holds what it should, the one that another one follows too."""
    large = wire.Batch(messages=[message_pb2.Message(channel="/a", data="x" * 600_000)], handles=[1], cursor=1)
    deliveries = [_delivery(wire.Delivery(number=number, batches=[large])) for number in (1, 2)]
    gone = [Detached(handle, DetachReason.EXPIRED, "") for handle in (1, 2)]
    frames = list(attach_frames([gone[0], deliveries[0], deliveries[1], gone[1]]))
    answers = [wire.AttachResponse.FromString(frame) for frame in frames]
    kinds = [[event.WhichOneof("event") for event in answer.events] for answer in answers]
    assert kinds == [["detached", "delivery"], ["delivery", "detached"]]
    assert [wire.AttachResponse(events=answer.events).SerializeToString() for answer in answers] == frames
