import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from pixied.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DetachReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DETACH_REASON_UNSPECIFIED: _ClassVar[DetachReason]
    DETACH_REASON_REQUESTED: _ClassVar[DetachReason]
    DETACH_REASON_TAKEN_OVER: _ClassVar[DetachReason]
    DETACH_REASON_DESTROYED: _ClassVar[DetachReason]
    DETACH_REASON_EXPIRED: _ClassVar[DetachReason]
DETACH_REASON_UNSPECIFIED: DetachReason
DETACH_REASON_REQUESTED: DetachReason
DETACH_REASON_TAKEN_OVER: DetachReason
DETACH_REASON_DESTROYED: DetachReason
DETACH_REASON_EXPIRED: DetachReason

class AttachRequest(_message.Message):
    __slots__ = ("commands",)
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    commands: _containers.RepeatedCompositeFieldContainer[AttachCommand]
    def __init__(self, commands: _Optional[_Iterable[_Union[AttachCommand, _Mapping]]] = ...) -> None: ...

class AttachCommand(_message.Message):
    __slots__ = ("hello", "attach", "detach", "ack", "client_ack", "heartbeat")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ACK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    attach: AttachClient
    detach: DetachClient
    ack: Ack
    client_ack: ClientAck
    heartbeat: Heartbeat
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., attach: _Optional[_Union[AttachClient, _Mapping]] = ..., detach: _Optional[_Union[DetachClient, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., client_ack: _Optional[_Union[ClientAck, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("front_end", "window")
    FRONT_END_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    front_end: str
    window: int
    def __init__(self, front_end: _Optional[str] = ..., window: _Optional[int] = ...) -> None: ...

class AttachClient(_message.Message):
    __slots__ = ("client_id", "handle", "ack_mode", "expires", "ack_cursor")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ACK_MODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ACK_CURSOR_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    handle: int
    ack_mode: _message_pb2.AckMode
    expires: bool
    ack_cursor: int
    def __init__(self, client_id: _Optional[str] = ..., handle: _Optional[int] = ..., ack_mode: _Optional[_Union[_message_pb2.AckMode, str]] = ..., expires: _Optional[bool] = ..., ack_cursor: _Optional[int] = ...) -> None: ...

class DetachClient(_message.Message):
    __slots__ = ("handle",)
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    handle: int
    def __init__(self, handle: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class ClientAck(_message.Message):
    __slots__ = ("handle", "number")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    handle: int
    number: int
    def __init__(self, handle: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[AttachEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[AttachEvent, _Mapping]]] = ...) -> None: ...

class AttachEvent(_message.Message):
    __slots__ = ("welcome", "attached", "attach_failed", "delivery", "detached", "gap", "heartbeat", "closing")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FAILED_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    attached: Attached
    attach_failed: AttachFailed
    delivery: Delivery
    detached: Detached
    gap: ClientGap
    heartbeat: Heartbeat
    closing: _message_pb2.Closing
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., attached: _Optional[_Union[Attached, _Mapping]] = ..., attach_failed: _Optional[_Union[AttachFailed, _Mapping]] = ..., delivery: _Optional[_Union[Delivery, _Mapping]] = ..., detached: _Optional[_Union[Detached, _Mapping]] = ..., gap: _Optional[_Union[ClientGap, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., closing: _Optional[_Union[_message_pb2.Closing, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("server_version", "heartbeat_interval", "silence_limit", "window", "max_commands", "max_clients", "max_message_bytes")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SILENCE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_COMMANDS_FIELD_NUMBER: _ClassVar[int]
    MAX_CLIENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    heartbeat_interval: _duration_pb2.Duration
    silence_limit: _duration_pb2.Duration
    window: int
    max_commands: int
    max_clients: int
    max_message_bytes: int
    def __init__(self, server_version: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., silence_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., window: _Optional[int] = ..., max_commands: _Optional[int] = ..., max_clients: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ("handles",)
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    handles: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, handles: _Optional[_Iterable[int]] = ...) -> None: ...

class AttachFailed(_message.Message):
    __slots__ = ("handle", "error")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    handle: int
    error: _status_pb2.Status
    def __init__(self, handle: _Optional[int] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("number", "batches")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    number: int
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    def __init__(self, number: _Optional[int] = ..., batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("messages", "handles", "redelivered", "cursor")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    handles: _containers.RepeatedScalarFieldContainer[int]
    redelivered: bool
    cursor: int
    def __init__(self, messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ..., handles: _Optional[_Iterable[int]] = ..., redelivered: _Optional[bool] = ..., cursor: _Optional[int] = ...) -> None: ...

class Detached(_message.Message):
    __slots__ = ("handle", "reason", "detail")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    handle: int
    reason: DetachReason
    detail: str
    def __init__(self, handle: _Optional[int] = ..., reason: _Optional[_Union[DetachReason, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class ClientGap(_message.Message):
    __slots__ = ("handles", "gap")
    HANDLES_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    handles: _containers.RepeatedScalarFieldContainer[int]
    gap: _message_pb2.Gap
    def __init__(self, handles: _Optional[_Iterable[int]] = ..., gap: _Optional[_Union[_message_pb2.Gap, _Mapping]] = ...) -> None: ...
