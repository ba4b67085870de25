import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pixied.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_CLIENT_CREATED: _ClassVar[EventKind]
    EVENT_KIND_CLIENT_DESTROYED: _ClassVar[EventKind]
    EVENT_KIND_CHANNEL_CREATED: _ClassVar[EventKind]
    EVENT_KIND_CHANNEL_DESTROYED: _ClassVar[EventKind]
    EVENT_KIND_SUBSCRIBED: _ClassVar[EventKind]
    EVENT_KIND_UNSUBSCRIBED: _ClassVar[EventKind]
    EVENT_KIND_PUBLISHED: _ClassVar[EventKind]
    EVENT_KIND_DELIVERED: _ClassVar[EventKind]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_CLIENT_CREATED: EventKind
EVENT_KIND_CLIENT_DESTROYED: EventKind
EVENT_KIND_CHANNEL_CREATED: EventKind
EVENT_KIND_CHANNEL_DESTROYED: EventKind
EVENT_KIND_SUBSCRIBED: EventKind
EVENT_KIND_UNSUBSCRIBED: EventKind
EVENT_KIND_PUBLISHED: EventKind
EVENT_KIND_DELIVERED: EventKind

class WatchRequest(_message.Message):
    __slots__ = ("kinds", "channel_pattern", "client_id")
    KINDS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_PATTERN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    kinds: _containers.RepeatedScalarFieldContainer[EventKind]
    channel_pattern: str
    client_id: str
    def __init__(self, kinds: _Optional[_Iterable[_Union[EventKind, str]]] = ..., channel_pattern: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("events", "missed", "closing")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    missed: int
    closing: _message_pb2.Closing
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., missed: _Optional[int] = ..., closing: _Optional[_Union[_message_pb2.Closing, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("at", "kind", "client_id", "channel", "reason", "message_id", "recipients", "front_end")
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    FRONT_END_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    kind: EventKind
    client_id: str
    channel: str
    reason: str
    message_id: str
    recipients: int
    front_end: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[EventKind, str]] = ..., client_id: _Optional[str] = ..., channel: _Optional[str] = ..., reason: _Optional[str] = ..., message_id: _Optional[str] = ..., recipients: _Optional[int] = ..., front_end: _Optional[str] = ...) -> None: ...
