from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class AckMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_MODE_UNSPECIFIED: _ClassVar[AckMode]
    ACK_MODE_AUTO: _ClassVar[AckMode]
    ACK_MODE_EXPLICIT: _ClassVar[AckMode]
ACK_MODE_UNSPECIFIED: AckMode
ACK_MODE_AUTO: AckMode
ACK_MODE_EXPLICIT: AckMode

class Message(_message.Message):
    __slots__ = ("channel", "data", "id", "ext", "extra", "client_id", "exclude_publisher", "idempotency_key")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    EXT_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    channel: str
    data: str
    id: str
    ext: str
    extra: str
    client_id: str
    exclude_publisher: bool
    idempotency_key: str
    def __init__(self, channel: _Optional[str] = ..., data: _Optional[str] = ..., id: _Optional[str] = ..., ext: _Optional[str] = ..., extra: _Optional[str] = ..., client_id: _Optional[str] = ..., exclude_publisher: _Optional[bool] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("channel", "lost")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    channel: str
    lost: int
    def __init__(self, channel: _Optional[str] = ..., lost: _Optional[int] = ...) -> None: ...

class Closing(_message.Message):
    __slots__ = ("reason", "reconnect_after_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    reconnect_after_ms: int
    def __init__(self, reason: _Optional[str] = ..., reconnect_after_ms: _Optional[int] = ...) -> None: ...
