from google.rpc import status_pb2 as _status_pb2
from pixied.v1 import message_pb2 as _message_pb2
from pixied.v1 import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PipelineRequest(_message.Message):
    __slots__ = ("operations",)
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[Operation]
    def __init__(self, operations: _Optional[_Iterable[_Union[Operation, _Mapping]]] = ...) -> None: ...

class Operation(_message.Message):
    __slots__ = ("generate_namespace", "release_namespace", "create_client", "get_client", "ping_client", "destroy_client", "subscribe", "unsubscribe", "subscribers_of", "subscribed_to", "client_subscribed", "queue_for", "dequeue_for", "publish")
    GENERATE_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CREATE_CLIENT_FIELD_NUMBER: _ClassVar[int]
    GET_CLIENT_FIELD_NUMBER: _ClassVar[int]
    PING_CLIENT_FIELD_NUMBER: _ClassVar[int]
    DESTROY_CLIENT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_OF_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_TO_FIELD_NUMBER: _ClassVar[int]
    CLIENT_SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FOR_FIELD_NUMBER: _ClassVar[int]
    DEQUEUE_FOR_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    generate_namespace: _operations_pb2.GenerateNamespaceRequest
    release_namespace: _operations_pb2.ReleaseNamespaceRequest
    create_client: _operations_pb2.CreateClientRequest
    get_client: _operations_pb2.GetClientRequest
    ping_client: _operations_pb2.PingClientRequest
    destroy_client: _operations_pb2.DestroyClientRequest
    subscribe: _operations_pb2.SubscribeRequest
    unsubscribe: _operations_pb2.UnsubscribeRequest
    subscribers_of: _operations_pb2.SubscribersOfRequest
    subscribed_to: _operations_pb2.SubscribedToRequest
    client_subscribed: _operations_pb2.ClientSubscribedRequest
    queue_for: _operations_pb2.QueueForRequest
    dequeue_for: _operations_pb2.DequeueForRequest
    publish: _operations_pb2.PublishRequest
    def __init__(self, generate_namespace: _Optional[_Union[_operations_pb2.GenerateNamespaceRequest, _Mapping]] = ..., release_namespace: _Optional[_Union[_operations_pb2.ReleaseNamespaceRequest, _Mapping]] = ..., create_client: _Optional[_Union[_operations_pb2.CreateClientRequest, _Mapping]] = ..., get_client: _Optional[_Union[_operations_pb2.GetClientRequest, _Mapping]] = ..., ping_client: _Optional[_Union[_operations_pb2.PingClientRequest, _Mapping]] = ..., destroy_client: _Optional[_Union[_operations_pb2.DestroyClientRequest, _Mapping]] = ..., subscribe: _Optional[_Union[_operations_pb2.SubscribeRequest, _Mapping]] = ..., unsubscribe: _Optional[_Union[_operations_pb2.UnsubscribeRequest, _Mapping]] = ..., subscribers_of: _Optional[_Union[_operations_pb2.SubscribersOfRequest, _Mapping]] = ..., subscribed_to: _Optional[_Union[_operations_pb2.SubscribedToRequest, _Mapping]] = ..., client_subscribed: _Optional[_Union[_operations_pb2.ClientSubscribedRequest, _Mapping]] = ..., queue_for: _Optional[_Union[_operations_pb2.QueueForRequest, _Mapping]] = ..., dequeue_for: _Optional[_Union[_operations_pb2.DequeueForRequest, _Mapping]] = ..., publish: _Optional[_Union[_operations_pb2.PublishRequest, _Mapping]] = ...) -> None: ...

class PipelineResponse(_message.Message):
    __slots__ = ("results", "closing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OperationResult]
    closing: _message_pb2.Closing
    def __init__(self, results: _Optional[_Iterable[_Union[OperationResult, _Mapping]]] = ..., closing: _Optional[_Union[_message_pb2.Closing, _Mapping]] = ...) -> None: ...

class OperationResult(_message.Message):
    __slots__ = ("error", "generate_namespace", "release_namespace", "create_client", "get_client", "ping_client", "destroy_client", "subscribe", "unsubscribe", "subscribers_of", "subscribed_to", "client_subscribed", "queue_for", "dequeue_for", "publish")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GENERATE_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CREATE_CLIENT_FIELD_NUMBER: _ClassVar[int]
    GET_CLIENT_FIELD_NUMBER: _ClassVar[int]
    PING_CLIENT_FIELD_NUMBER: _ClassVar[int]
    DESTROY_CLIENT_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_OF_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBED_TO_FIELD_NUMBER: _ClassVar[int]
    CLIENT_SUBSCRIBED_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FOR_FIELD_NUMBER: _ClassVar[int]
    DEQUEUE_FOR_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    error: _status_pb2.Status
    generate_namespace: _operations_pb2.GenerateNamespaceResponse
    release_namespace: _operations_pb2.ReleaseNamespaceResponse
    create_client: _operations_pb2.CreateClientResponse
    get_client: _operations_pb2.GetClientResponse
    ping_client: _operations_pb2.PingClientResponse
    destroy_client: _operations_pb2.DestroyClientResponse
    subscribe: _operations_pb2.SubscribeResponse
    unsubscribe: _operations_pb2.UnsubscribeResponse
    subscribers_of: _operations_pb2.SubscribersOfResponse
    subscribed_to: _operations_pb2.SubscribedToResponse
    client_subscribed: _operations_pb2.ClientSubscribedResponse
    queue_for: _operations_pb2.QueueForResponse
    dequeue_for: _operations_pb2.DequeueForResponse
    publish: _operations_pb2.PublishResponse
    def __init__(self, error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., generate_namespace: _Optional[_Union[_operations_pb2.GenerateNamespaceResponse, _Mapping]] = ..., release_namespace: _Optional[_Union[_operations_pb2.ReleaseNamespaceResponse, _Mapping]] = ..., create_client: _Optional[_Union[_operations_pb2.CreateClientResponse, _Mapping]] = ..., get_client: _Optional[_Union[_operations_pb2.GetClientResponse, _Mapping]] = ..., ping_client: _Optional[_Union[_operations_pb2.PingClientResponse, _Mapping]] = ..., destroy_client: _Optional[_Union[_operations_pb2.DestroyClientResponse, _Mapping]] = ..., subscribe: _Optional[_Union[_operations_pb2.SubscribeResponse, _Mapping]] = ..., unsubscribe: _Optional[_Union[_operations_pb2.UnsubscribeResponse, _Mapping]] = ..., subscribers_of: _Optional[_Union[_operations_pb2.SubscribersOfResponse, _Mapping]] = ..., subscribed_to: _Optional[_Union[_operations_pb2.SubscribedToResponse, _Mapping]] = ..., client_subscribed: _Optional[_Union[_operations_pb2.ClientSubscribedResponse, _Mapping]] = ..., queue_for: _Optional[_Union[_operations_pb2.QueueForResponse, _Mapping]] = ..., dequeue_for: _Optional[_Union[_operations_pb2.DequeueForResponse, _Mapping]] = ..., publish: _Optional[_Union[_operations_pb2.PublishResponse, _Mapping]] = ...) -> None: ...
