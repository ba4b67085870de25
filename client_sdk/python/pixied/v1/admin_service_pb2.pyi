import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pixied.v1 import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "engine", "started_at", "draining", "holdings", "counters")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    HOLDINGS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    engine: str
    started_at: _timestamp_pb2.Timestamp
    draining: bool
    holdings: Holdings
    counters: Counters
    def __init__(self, version: _Optional[str] = ..., engine: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., draining: _Optional[bool] = ..., holdings: _Optional[_Union[Holdings, _Mapping]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ...) -> None: ...

class Holdings(_message.Message):
    __slots__ = ("clients", "attached_clients", "channels", "subscriptions", "links", "messages", "bytes", "namespaces")
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_CLIENTS_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    clients: int
    attached_clients: int
    channels: int
    subscriptions: int
    links: int
    messages: int
    bytes: int
    namespaces: int
    def __init__(self, clients: _Optional[int] = ..., attached_clients: _Optional[int] = ..., channels: _Optional[int] = ..., subscriptions: _Optional[int] = ..., links: _Optional[int] = ..., messages: _Optional[int] = ..., bytes: _Optional[int] = ..., namespaces: _Optional[int] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("published", "queued", "delivered", "redelivered", "lost", "duplicates", "clients_created", "clients_expired", "clients_destroyed")
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_CREATED_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_DESTROYED_FIELD_NUMBER: _ClassVar[int]
    published: int
    queued: int
    delivered: int
    redelivered: int
    lost: int
    duplicates: int
    clients_created: int
    clients_expired: int
    clients_destroyed: int
    def __init__(self, published: _Optional[int] = ..., queued: _Optional[int] = ..., delivered: _Optional[int] = ..., redelivered: _Optional[int] = ..., lost: _Optional[int] = ..., duplicates: _Optional[int] = ..., clients_created: _Optional[int] = ..., clients_expired: _Optional[int] = ..., clients_destroyed: _Optional[int] = ...) -> None: ...

class ListClientsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "channel_pattern", "front_end")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_PATTERN_FIELD_NUMBER: _ClassVar[int]
    FRONT_END_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    channel_pattern: str
    front_end: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channel_pattern: _Optional[str] = ..., front_end: _Optional[str] = ...) -> None: ...

class ListClientsResponse(_message.Message):
    __slots__ = ("clients", "next_page_token")
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    clients: _containers.RepeatedCompositeFieldContainer[_operations_pb2.Client]
    next_page_token: str
    def __init__(self, clients: _Optional[_Iterable[_Union[_operations_pb2.Client, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListChannelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "channel_pattern")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_PATTERN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    channel_pattern: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., channel_pattern: _Optional[str] = ...) -> None: ...

class ListChannelsResponse(_message.Message):
    __slots__ = ("channels", "next_page_token")
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedCompositeFieldContainer[Channel]
    next_page_token: str
    def __init__(self, channels: _Optional[_Iterable[_Union[Channel, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Channel(_message.Message):
    __slots__ = ("channel", "subscribers", "messages", "bytes")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    channel: str
    subscribers: int
    messages: int
    bytes: int
    def __init__(self, channel: _Optional[str] = ..., subscribers: _Optional[int] = ..., messages: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: int
    def __init__(self, streams: _Optional[int] = ...) -> None: ...
