"""Operations as they are described: what is asked, how the answer is read, and what may be asked twice."""

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as Protobuf
from google.protobuf.timestamp_pb2 import Timestamp

import pixied_client
from pixied.v1 import admin_service_pb2 as admin
from pixied.v1 import message_pb2
from pixied.v1 import operations_pb2 as pb
from pixied_client import Admin, Backend, FrontEnd, Message, Page, PingResult, PublishResult, operations, sync
from pixied_client.faces import AwaitedAdmin, AwaitedOperations, BlockingAdmin, BlockingOperations
from pixied_client.operations import Call

_AUTO, _EXPLICIT = message_pb2.ACK_MODE_AUTO, message_pb2.ACK_MODE_EXPLICIT
_MESSAGE = message_pb2.Message(channel="/a", data="1", idempotency_key="k")
_KEYED = Message("/a", "1", idempotency_key="k")

_ASKED: dict[str, tuple[Call[Any], Protobuf]] = {
    "generate_namespace": (operations.generate_namespace(), pb.GenerateNamespaceRequest()),
    "generate_namespace, as asked": (operations.generate_namespace(7), pb.GenerateNamespaceRequest(length=7)),
    "release_namespace": (operations.release_namespace("n"), pb.ReleaseNamespaceRequest(namespace="n")),
    "create_client": (operations.create_client(), pb.CreateClientRequest()),
    "create_client, as asked": (
        operations.create_client(1.5, {"k": "v"}),
        pb.CreateClientRequest(session_timeout=Duration(seconds=1, nanos=500_000_000), attributes={"k": "v"}),
    ),
    "get_client": (operations.get_client("c"), pb.GetClientRequest(client_id="c")),
    "ping_client": (operations.ping_client("c"), pb.PingClientRequest(client_id="c")),
    "ping_clients": (operations.ping_clients(iter("cd")), pb.PingClientRequest(client_ids=["c", "d"])),
    "destroy_client": (operations.destroy_client("c"), pb.DestroyClientRequest(client_id="c")),
    "destroy_client, as asked": (
        operations.destroy_client("c", "r"),
        pb.DestroyClientRequest(client_id="c", reason="r"),
    ),
    "subscribe": (operations.subscribe("c", "/a"), pb.SubscribeRequest(client_id="c", channels=["/a"])),
    "subscribe, to several": (
        operations.subscribe("c", ["/a", "/b"]),
        pb.SubscribeRequest(client_id="c", channels=["/a", "/b"]),
    ),
    "unsubscribe": (operations.unsubscribe("c", "/a"), pb.UnsubscribeRequest(client_id="c", channels=["/a"])),
    "subscribers_of": (operations.subscribers_of("/a"), pb.SubscribersOfRequest(channel_pattern="/a")),
    "subscribers_of, as asked": (
        operations.subscribers_of("/a", 5, "t"),
        pb.SubscribersOfRequest(channel_pattern="/a", page_size=5, page_token="t"),  # noqa: S106 - of a page
    ),
    "subscribed_to": (operations.subscribed_to("c"), pb.SubscribedToRequest(client_id="c")),
    "client_subscribed": (
        operations.client_subscribed("c", "/a"),
        pb.ClientSubscribedRequest(client_id="c", channel="/a"),
    ),
    "queue_for": (operations.queue_for("c", [_KEYED]), pb.QueueForRequest(client_id="c", messages=[_MESSAGE])),
    "dequeue_for": (operations.dequeue_for("c"), pb.DequeueForRequest(client_id="c", ack_mode=_AUTO)),
    "dequeue_for, as asked": (
        operations.dequeue_for("c", 5, timedelta(seconds=2), explicit=True, ack_cursor="8"),
        pb.DequeueForRequest(
            client_id="c", max_messages=5, wait=Duration(seconds=2), ack_mode=_EXPLICIT, ack_cursor="8"
        ),
    ),
    "publish": (operations.publish([_KEYED, _KEYED]), pb.PublishRequest(messages=[_MESSAGE, _MESSAGE])),
    "publish_one": (operations.publish_one(_KEYED), pb.PublishRequest(messages=[_MESSAGE])),
    "get_info": (operations.get_info(), admin.GetInfoRequest()),
    "list_clients": (operations.list_clients(), admin.ListClientsRequest()),
    "list_clients, as asked": (
        operations.list_clients("/a", "f", 5, "t"),
        admin.ListClientsRequest(channel_pattern="/a", front_end="f", page_size=5, page_token="t"),  # noqa: S106
    ),
    "list_channels": (operations.list_channels(), admin.ListChannelsRequest()),
    "list_channels, as asked": (
        operations.list_channels("/a", 5, "t"),
        admin.ListChannelsRequest(channel_pattern="/a", page_size=5, page_token="t"),  # noqa: S106
    ),
    "drain": (operations.drain(), admin.DrainRequest()),
    "drain, as asked": (operations.drain(0), admin.DrainRequest(grace=Duration())),
}


@pytest.mark.parametrize(("call", "request_"), _ASKED.values(), ids=_ASKED)
def test_what_is_asked(call: Call[Any], request_: Protobuf) -> None:
    """Nothing but what was given."""
    assert call.request == request_
    assert call.rpc.path.endswith("/" + type(request_).__name__.removesuffix("Request"))


def test_every_operation_is_asked_for_here() -> None:
    """None is forgotten."""
    assert {name.partition(",")[0] for name in _ASKED} == set(operations.__all__) - {"Call"}


_AT = Timestamp(seconds=86_400, nanos=250_000_000)
_MOMENT = datetime(1970, 1, 2, 0, 0, 0, 250_000, UTC)
_ANSWERS: dict[str, tuple[Call[Any], Protobuf, Any]] = {
    "generate_namespace": (operations.generate_namespace(), pb.GenerateNamespaceResponse(namespace="n"), "n"),
    "release_namespace": (operations.release_namespace("n"), pb.ReleaseNamespaceResponse(released=True), None),
    "ping_client": (operations.ping_client("c"), pb.PingClientResponse(expires_at=_AT), _MOMENT),
    "ping_client, that is held": (operations.ping_client("c"), pb.PingClientResponse(), None),
    "ping_clients": (
        operations.ping_clients("cd"),
        pb.PingClientResponse(results=[pb.PingResult(known=True, expires_at=_AT), pb.PingResult()]),
        [PingResult(known=True, expires_at=_MOMENT), PingResult(known=False, expires_at=None)],
    ),
    "destroy_client": (operations.destroy_client("c"), pb.DestroyClientResponse(destroyed=True), None),
    "subscribe": (operations.subscribe("c", "/a"), pb.SubscribeResponse(added=["/a"]), ["/a"]),
    "unsubscribe": (operations.unsubscribe("c", "/a"), pb.UnsubscribeResponse(removed=["/a"]), ["/a"]),
    "subscribers_of": (
        operations.subscribers_of("/a"),
        pb.SubscribersOfResponse(client_ids=["c"], next_page_token="t"),  # noqa: S106
        Page(("c",), "t"),
    ),
    "subscribed_to": (operations.subscribed_to("c"), pb.SubscribedToResponse(channels=["/a"]), ["/a"]),
    "client_subscribed": (
        operations.client_subscribed("c", "/a"),
        pb.ClientSubscribedResponse(subscribed=True),
        True,
    ),
    "queue_for": (operations.queue_for("c", [_KEYED]), pb.QueueForResponse(pending=3), 3),
    "publish": (
        operations.publish([_KEYED] * 2),
        pb.PublishResponse(results=[pb.PublishResult(matched_subscriptions=2), pb.PublishResult(duplicate=True)]),
        [PublishResult(2, duplicate=False), PublishResult(0, duplicate=True)],
    ),
    "publish_one": (
        operations.publish_one(_KEYED),
        pb.PublishResponse(results=[pb.PublishResult(matched_subscriptions=2)]),
        PublishResult(2, duplicate=False),
    ),
    "list_channels": (
        operations.list_channels(),
        admin.ListChannelsResponse(
            channels=[admin.Channel(channel="/a", subscribers=1, messages=2, bytes=3)],
            next_page_token="t",  # noqa: S106
        ),
        Page((pixied_client.Channel("/a", 1, 2, 3),), "t"),
    ),
    "drain": (operations.drain(), admin.DrainResponse(streams=4), 4),
}


@pytest.mark.parametrize(("call", "response", "expected"), _ANSWERS.values(), ids=_ANSWERS)
def test_how_an_answer_is_read(call: Call[Any], response: Protobuf, expected: Any) -> None:
    """As values, with nothing of the contract's messages in them."""
    assert call.result(response) == expected


def test_a_client_is_read() -> None:
    """Field by field, alone and in a list."""
    client = pb.Client(
        client_id="c",
        created_at=_AT,
        session_timeout=Duration(seconds=86_401, nanos=500_000_000),
        subscriptions=1,
        pending=2,
        front_end="f",
        attributes={"k": "v"},
    )
    expected = pixied_client.Client(
        "c", _MOMENT, None, timedelta(days=1, seconds=1, milliseconds=500), 1, 2, "f", {"k": "v"}
    )
    assert operations.create_client().result(pb.CreateClientResponse(client=client)) == expected
    assert operations.get_client("c").result(pb.GetClientResponse(client=client)) == expected
    page = admin.ListClientsResponse(clients=[client], next_page_token="t")  # noqa: S106
    assert operations.list_clients().result(page) == Page((expected,), "t")
    client.expires_at.CopyFrom(_AT)
    assert operations.get_client("c").result(pb.GetClientResponse(client=client)).expires_at == _MOMENT


def test_what_may_be_asked_twice() -> None:
    """What makes or ends something may not, nor may what takes messages away; publishing may if each has a key."""
    once = {name for name, (call, _) in _ASKED.items() if not call.repeatable}
    assert once == {
        "generate_namespace",
        "generate_namespace, as asked",
        "release_namespace",
        "create_client",
        "create_client, as asked",
        "destroy_client",
        "destroy_client, as asked",
        "dequeue_for",
    }
    plain = Message("/a", "1")
    for describe in (operations.publish, lambda messages, **how: operations.queue_for("c", messages, **how)):
        assert describe([plain, _KEYED]).repeatable
        assert not describe([plain, _KEYED], keyed=False).repeatable
        assert describe([_KEYED], keyed=False).repeatable
    assert operations.publish_one(plain).repeatable
    assert not operations.publish_one(plain, keyed=False).repeatable


def test_a_long_poll_may_take_its_time() -> None:
    """As long as it waits; all else has to be answered at once."""
    assert operations.dequeue_for("c", wait=2.5).wait == 2.5
    assert operations.dequeue_for("c").wait == 0.0
    assert {name for name, (call, _) in _ASKED.items() if call.wait} == {"dequeue_for, as asked"}


class AwaitedPages(AwaitedOperations, AwaitedAdmin):
    """Answers a list's first page, and a second one; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Protobuf] = []

    async def perform(self, call: Call[Any]) -> Any:
        """See `pixied_client.faces`."""
        self.asked.append(call.request)
        return Page(("a", "b"), "more") if len(self.asked) == 1 else Page(("c",), "")


class BlockingPages(BlockingOperations, BlockingAdmin):
    """The same, blocking."""

    def __init__(self) -> None:
        self.asked: list[Protobuf] = []

    def perform(self, call: Call[Any]) -> Any:
        """See `pixied_client.faces`."""
        self.asked.append(call.request)
        return Page(("a", "b"), "more") if len(self.asked) == 1 else Page(("c",), "")


_LISTS: dict[str, tuple[tuple[str, ...], type[Any], dict[str, str]]] = {
    "all_subscribers_of": (("/a",), pb.SubscribersOfRequest, {"channel_pattern": "/a"}),
    "all_clients": (("/a", "f"), admin.ListClientsRequest, {"channel_pattern": "/a", "front_end": "f"}),
    "all_channels": (("/a",), admin.ListChannelsRequest, {"channel_pattern": "/a"}),
}


@pytest.mark.parametrize("name", _LISTS)
async def test_lists_are_asked_for_in_large_pages(name: str) -> None:
    """One after the other, each with the filters of the first, until there is none."""
    arguments, kind, filters = _LISTS[name]
    expected = [kind(page_size=1_000, **filters), kind(page_size=1_000, page_token="more", **filters)]  # noqa: S106
    awaited, blocking = AwaitedPages(), BlockingPages()
    assert [item async for item in getattr(awaited, name)(*arguments)] == ["a", "b", "c"]
    assert list(getattr(blocking, name)(*arguments)) == ["a", "b", "c"]
    assert awaited.asked == blocking.asked == expected


@pytest.mark.parametrize("name", ["all_clients", "all_channels"])
async def test_lists_have_no_filter_by_default(name: str) -> None:
    """All there are."""
    awaited, blocking = AwaitedPages(), BlockingPages()
    assert [item async for item in getattr(awaited, name)()] == list(getattr(blocking, name)())
    assert awaited.asked == blocking.asked
    assert awaited.asked[0] == _LISTS[name][1](page_size=1_000)


@pytest.mark.parametrize("face", [Backend, FrontEnd, Admin, sync.Backend, sync.Admin])
def test_methods_show_their_arguments(face: type[Any]) -> None:
    """To `help()` and to editors: those of the description, behind self."""
    names = [name for name in operations.__all__ if hasattr(face, name)]
    assert names
    for name in names:
        shown = list(inspect.signature(getattr(face, name)).parameters.values())
        assert [shown[0].name, *shown[1:]] == [
            "self",
            *inspect.signature(getattr(operations, name)).parameters.values(),
        ]
        assert getattr(face, name).__doc__ == getattr(operations, name).__doc__
