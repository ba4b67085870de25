"""Frames put together from encoded operations."""

from typing import Any

import pytest

from pixied.v1 import pipeline_pb2
from pixied_client import Message, MessageTooLarge, operations
from pixied_client.frames import encoded
from pixied_client.operations import Call


@pytest.mark.parametrize(
    "size", [0, 1, 100, 127, 128, 1_000, *range(1_000, 1_030), 16_383, 16_384, 2_097_152, 5_000_000]
)
def test_same_as_protobuf(size: int) -> None:
    """Joined operations are what protobuf encodes for one request with all of them, whatever their sizes."""
    calls: list[Call[Any]] = [
        operations.create_client(60),
        operations.publish_one(Message("/a", "x" * size)),
        operations.ping_clients(["ann", "bob"]),
        operations.release_namespace(""),
    ]
    expected = pipeline_pb2.PipelineRequest()
    for call in calls:
        getattr(expected.operations.add(), call.rpc.field).CopyFrom(call.request)
    frame = b"".join(map(encoded, calls))
    assert pipeline_pb2.PipelineRequest.FromString(frame) == expected
    assert len(frame) == expected.ByteSize()


def test_an_operation_has_at_most_what_servers_take_by_default() -> None:
    """16 MiB, and no byte more."""
    room = 16 << 20
    call = operations.get_client("x" * (room - 5))
    assert call.request.ByteSize() == room
    assert len(encoded(call)) > room
    with pytest.raises(MessageTooLarge, match="16777216 bytes, this one has 16777217"):
        encoded(operations.get_client("x" * (room - 4)))
