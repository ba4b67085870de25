"""Every operation, described once: its request, how its response is read, and whether it can be repeated safely.

A description does nothing by itself. `Backend` and `Admin` carry it out as an RPC, by asyncio or blocking, and
`FrontEnd` as a part of its Pipeline. Their methods have these functions' arguments, and answer what the `Call` is of.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message as Protobuf

from pixied.v1 import admin_service_pb2 as admin
from pixied.v1 import operations_pb2 as pb
from pixied_client import convert
from pixied_client.rpcs import ADMIN, BACKEND, Rpc
from pixied_client.values import (
    Channel,
    Client,
    Message,
    Messages,
    Page,
    PingResult,
    PublishResult,
    Seconds,
    ServerInfo,
)

__all__ = [
    "Call",
    "client_subscribed",
    "create_client",
    "dequeue_for",
    "destroy_client",
    "drain",
    "generate_namespace",
    "get_client",
    "get_info",
    "list_channels",
    "list_clients",
    "ping_client",
    "ping_clients",
    "publish",
    "publish_one",
    "queue_for",
    "release_namespace",
    "subscribe",
    "subscribed_to",
    "subscribers_of",
    "unsubscribe",
]

R = TypeVar("R")


class Call(NamedTuple, Generic[R]):
    """One operation to be carried out.

    Attributes:
        rpc: which RPC.
        request: what it is asked.
        result: reads its response.
        repeatable: doing it twice does no more than doing it once, and the second answer serves as well as the first.
        wait: for how many seconds the server may rightly take its time before it begins to answer.
    """

    rpc: Rpc
    request: Protobuf
    result: Callable[[Any], R]
    repeatable: bool
    wait: float = 0.0


def generate_namespace(length: int = 0) -> Call[str]:
    """Reserve a random identifier of 1 to 255 characters of `[a-z0-9]`; 0 means 32. Answers the identifier."""
    request = pb.GenerateNamespaceRequest(length=length)
    return Call(BACKEND["GenerateNamespace"], request, lambda answer: str(answer.namespace), repeatable=False)


def release_namespace(namespace: str) -> Call[None]:
    """Give a reserved identifier back.

    Raises:
        NamespaceUnknown: it is not reserved.
        NamespaceInUse: a live client bears it.
    """
    request = pb.ReleaseNamespaceRequest(namespace=namespace)
    return Call(BACKEND["ReleaseNamespace"], request, _nothing, repeatable=False)


def create_client(session_timeout: Seconds | None = None, attributes: Mapping[str, str] | None = None) -> Call[Client]:
    """Start a session that lives for `session_timeout` (default: the server's) without a ping.

    Raises:
        TimeoutOutOfRange: the timeout is outside the server's limits.
        MessageTooLarge: the attributes have more than 64 entries or 8 KiB.
        LimitClients: the server has as many clients as it may.
        RateLimited: too many calls a second.
    """
    request = pb.CreateClientRequest(session_timeout=convert.duration(session_timeout), attributes=attributes)
    return Call(BACKEND["CreateClient"], request, _its_client, repeatable=False)


def get_client(client_id: str) -> Call[Client]:
    """Return what is known of a client. Does not prolong its session.

    Raises:
        ClientUnknown: there is none such.
    """
    return Call(BACKEND["GetClient"], pb.GetClientRequest(client_id=client_id), _its_client, repeatable=True)


def ping_client(client_id: str) -> Call[datetime | None]:
    """Begin a client's session timeout anew. Answers its new expiry, None while a front-end keeps it alive.

    Raises:
        ClientUnknown: there is none such.
    """
    request = pb.PingClientRequest(client_id=client_id)
    return Call(BACKEND["PingClient"], request, convert.optional_moment, repeatable=True)


def ping_clients(client_ids: Iterable[str]) -> Call[list[PingResult]]:
    """Begin the session timeouts of many clients anew. Answers for each, in their order; unknown ones are no error.

    Raises:
        BatchTooLarge: more ids than the server takes at once (by default 1,000).
    """
    request = pb.PingClientRequest(client_ids=client_ids)
    return Call(BACKEND["PingClient"], request, _ping_results, repeatable=True)


def destroy_client(client_id: str, reason: str = "") -> Call[None]:
    """End a session: its subscriptions, its messages and its id. Its front-end and watchers get the `reason`.

    Raises:
        ClientUnknown: there is none such.
    """
    request = pb.DestroyClientRequest(client_id=client_id, reason=reason)
    return Call(BACKEND["DestroyClient"], request, _nothing, repeatable=False)


def subscribe(client_id: str, channels: str | Iterable[str]) -> Call[list[str]]:
    """Subscribe a client to channels or patterns, all or none. Answers those it was not subscribed to before.

    Raises:
        ClientUnknown: there is none such.
        ChannelInvalid: one is no channel and no pattern.
        ChannelReserved: one is `/meta/**` or `/service/**`.
        BatchTooLarge: more than the server takes at once.
        LimitSubscriptions: the client would have too many.
    """
    request = pb.SubscribeRequest(client_id=client_id, channels=_several(channels))
    return Call(BACKEND["Subscribe"], request, lambda answer: list(answer.added), repeatable=True)


def unsubscribe(client_id: str, channels: str | Iterable[str]) -> Call[list[str]]:
    """End subscriptions, and what is pending through them. Answers those that there were.

    Raises:
        ClientUnknown: there is none such.
        ChannelInvalid: one is no channel and no pattern.
        BatchTooLarge: more than the server takes at once.
    """
    request = pb.UnsubscribeRequest(client_id=client_id, channels=_several(channels))
    return Call(BACKEND["Unsubscribe"], request, lambda answer: list(answer.removed), repeatable=True)


def subscribers_of(channel_pattern: str, page_size: int = 0, page_token: str = "") -> Call[Page[str]]:
    """List the ids of the clients that have a subscription which meets the pattern: one page, 0 means 100 ids.

    Raises:
        ChannelInvalid: it is no channel and no pattern.
        FieldInvalid: `page_size` is over 10,000.
        PageTokenInvalid: this call did not hand out the token.
    """
    request = pb.SubscribersOfRequest(channel_pattern=channel_pattern, page_size=page_size, page_token=page_token)
    return Call(BACKEND["SubscribersOf"], request, _subscribers, repeatable=True)


def subscribed_to(client_id: str) -> Call[list[str]]:
    """List the channels and patterns that a client subscribes to, ascending.

    Raises:
        ClientUnknown: there is none such.
    """
    request = pb.SubscribedToRequest(client_id=client_id)
    return Call(BACKEND["SubscribedTo"], request, lambda answer: list(answer.channels), repeatable=True)


def client_subscribed(client_id: str, channel: str) -> Call[bool]:
    """Return whether a client has subscribed to exactly this channel or pattern.

    Raises:
        ClientUnknown: there is none such.
        ChannelInvalid: it is no channel and no pattern.
    """
    request = pb.ClientSubscribedRequest(client_id=client_id, channel=channel)
    return Call(BACKEND["ClientSubscribed"], request, lambda answer: bool(answer.subscribed), repeatable=True)


def queue_for(client_id: str, messages: Iterable[Message], *, keyed: bool = True) -> Call[int]:
    """Send messages straight to one client. Answers how many messages it has not confirmed now.

    Args:
        client_id: the client.
        messages: 1 or more; all are checked before any is queued.
        keyed: give each message an idempotency key, so that it can be repeated safely. The server remembers a key for
            5 minutes; without keys a broken connection leaves the outcome unknown.

    Raises:
        ClientUnknown: there is none such.
        ChannelInvalid, ChannelIsPattern, ChannelReserved, DataNotJson, FieldInvalid, IdempotencyKeyReused,
        MessageTooLarge: a message is not as it has to be.
        BatchTooLarge: more messages than the server takes at once.
        LimitMemory: they do not fit.
    """
    request = pb.QueueForRequest(
        client_id=client_id, messages=[convert.message_out(message, keyed=keyed) for message in messages]
    )
    return Call(BACKEND["QueueFor"], request, lambda answer: int(answer.pending), _all_keyed(request))


def dequeue_for(
    client_id: str, max_messages: int = 0, wait: Seconds | None = None, *, explicit: bool = False, ack_cursor: str = ""
) -> Call[Messages]:
    """Take a client's pending messages, oldest first. Takes the client over from its owner.

    Args:
        client_id: the client.
        max_messages: at most so many, 1 to 1,000; 0 means 100.
        wait: for how long to wait if there is none (a long poll); not through a `FrontEnd`.
        explicit: keep what is returned until a later call names its cursor. Otherwise it is removed, so that an answer
            lost on its way is lost.
        ack_cursor: confirms everything up to the answer that had this cursor.

    Raises:
        ClientUnknown: there is none such.
        FieldInvalid: `max_messages` or `ack_cursor` is wrong.
        TimeoutOutOfRange: `wait` is longer than the server allows.
        TakenOver: another took the client over meanwhile.
    """
    duration = convert.duration(wait)
    request = pb.DequeueForRequest(
        client_id=client_id,
        max_messages=max_messages,
        wait=duration,
        ack_mode=convert.ack_mode(explicit=explicit),
        ack_cursor=ack_cursor,
    )
    seconds = duration.ToTimedelta().total_seconds() if duration else 0.0
    return Call(BACKEND["DequeueFor"], request, convert.messages_from, explicit, seconds)


def publish(messages: Iterable[Message], *, keyed: bool = True) -> Call[list[PublishResult]]:
    """Publish messages in this order to the subscribers of their channels. Answers for each message.

    Args:
        messages: 1 or more; all are checked before any is published.
        keyed: as in `queue_for`.

    Raises:
        ChannelInvalid, ChannelIsPattern, ChannelReserved, DataNotJson, FieldInvalid, IdempotencyKeyReused,
        MessageTooLarge: a message is not as it has to be.
        BatchTooLarge: more messages than the server takes at once.
        LimitMemory: they do not fit.
        RateLimited: too many calls a second.
    """
    request = pb.PublishRequest(messages=[convert.message_out(message, keyed=keyed) for message in messages])
    return Call(BACKEND["Publish"], request, _publish_results, _all_keyed(request))


def publish_one(message: Message, *, keyed: bool = True) -> Call[PublishResult]:
    """Publish one message, as `publish` does."""
    request = pb.PublishRequest(messages=[convert.message_out(message, keyed=keyed)])
    return Call(BACKEND["Publish"], request, lambda answer: _publish_results(answer)[0], _all_keyed(request))


def get_info() -> Call[ServerInfo]:
    """Return what the server is, holds and has done."""
    return Call(ADMIN["GetInfo"], admin.GetInfoRequest(), convert.info_from, repeatable=True)


def list_clients(
    channel_pattern: str = "", front_end: str = "", page_size: int = 0, page_token: str = ""
) -> Call[Page[Client]]:
    """List clients, ascending by id: one page, 0 means 100.

    Args:
        channel_pattern: only those with a subscription that meets it.
        front_end: only those that the front-end of this name holds.
        page_size: at most so many, up to 10,000.
        page_token: `next_page_token` of the page before, with the same filters.

    Raises:
        ChannelInvalid: `channel_pattern` is no channel and no pattern.
        FieldInvalid: `page_size` is over 10,000.
        PageTokenInvalid: this call did not hand out the token.
    """
    request = admin.ListClientsRequest(
        channel_pattern=channel_pattern, front_end=front_end, page_size=page_size, page_token=page_token
    )
    return Call(ADMIN["ListClients"], request, _clients, repeatable=True)


def list_channels(channel_pattern: str = "", page_size: int = 0, page_token: str = "") -> Call[Page[Channel]]:
    """List the channels and patterns that someone subscribes to and that meet the pattern, ascending: one page.

    Raises:
        ChannelInvalid: `channel_pattern` is no channel and no pattern.
        FieldInvalid: `page_size` is over 10,000.
        PageTokenInvalid: this call did not hand out the token.
    """
    request = admin.ListChannelsRequest(channel_pattern=channel_pattern, page_size=page_size, page_token=page_token)
    return Call(ADMIN["ListChannels"], request, _channels, repeatable=True)


def drain(grace: Seconds | None = None) -> Call[int]:
    """Begin a planned stop of the server. Answers at once: how many streams were notified.

    `grace` is how long it waits for streams to end before it cuts them, up to 1 h (default: the server's).
    """
    request = admin.DrainRequest(grace=convert.duration(grace))
    return Call(ADMIN["Drain"], request, lambda answer: int(answer.streams), repeatable=True)


def _nothing(answer: Any) -> None:
    del answer  # "Always true; failures are errors."


def _its_client(answer: "pb.CreateClientResponse | pb.GetClientResponse") -> Client:
    return convert.client_from(answer.client)


def _ping_results(answer: pb.PingClientResponse) -> list[PingResult]:
    return [convert.ping_result_from(result) for result in answer.results]


def _publish_results(answer: pb.PublishResponse) -> list[PublishResult]:
    return [PublishResult(result.matched_subscriptions, result.duplicate) for result in answer.results]


def _subscribers(answer: pb.SubscribersOfResponse) -> Page[str]:
    return Page(tuple(answer.client_ids), answer.next_page_token)


def _clients(answer: admin.ListClientsResponse) -> Page[Client]:
    return Page(tuple(map(convert.client_from, answer.clients)), answer.next_page_token)


def _channels(answer: admin.ListChannelsResponse) -> Page[Channel]:
    return Page(tuple(map(convert.channel_from, answer.channels)), answer.next_page_token)


def _several(channels: str | Iterable[str]) -> Iterable[str]:
    """A single name is one channel, not a channel for each of its characters."""
    return (channels,) if isinstance(channels, str) else channels


def _all_keyed(request: "pb.PublishRequest | pb.QueueForRequest") -> bool:
    return all(message.idempotency_key for message in request.messages)
