"""The contract's services, bound to their handlers. A contract with an RPC that no one handles does not start."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from pixied_server.core.turns import Turns
from pixied_server.rpc.calls import in_turns, method_name, stream_call, unary_call
from pixied_server.rpc.writer import Writer
from pixied_server.rpc.writes import Writes

__all__ = ["bind"]


def bind(
    service: ServiceDescriptor, handlers: Mapping[str, Callable[..., Any]], writes: Writes, turns: Turns
) -> grpc.GenericRpcHandler:
    """Bind each RPC of a service to the handler of its name.

    Args:
        service: from the contract.
        handlers: by method name (`subscribers_of`): for a unary RPC from request to response; for a stream from the
            encoded request (or an iterator of them) and its writer to nothing.
        writes: the account of all writes.
        turns: large requests are decoded in turns.

    Raises:
        LookupError: an RPC has no handler, or a handler no RPC.
    """
    names = {method.name: method_name(method.name) for method in service.methods}
    if unmatched := set(names.values()) ^ set(handlers):
        raise LookupError(f"{service.full_name} and its handlers differ in {', '.join(sorted(unmatched))}")
    bound = {method.name: _bound(method, handlers[names[method.name]], writes, turns) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, bound)


def _bound(
    method: MethodDescriptor, handler: Callable[..., Any], writes: Writes, turns: Turns
) -> "grpc.RpcMethodHandler[Any, Any]":
    # No serializers: handlers take and give bytes. So one encoded message serves every link, and what can't be decoded
    # is answered with a status of ours.
    if not method.server_streaming:
        kind = GetMessageClass(method.input_type)
        return grpc.unary_unary_rpc_method_handler(unary_call(method.name, kind, handler, writes, turns))
    if method.client_streaming:

        async def of_many(requests: AsyncIterator[bytes], writer: Writer) -> None:
            await handler(in_turns(requests, turns), writer)

        return grpc.stream_stream_rpc_method_handler(stream_call(method.name, of_many, writes))
    return grpc.unary_stream_rpc_method_handler(stream_call(method.name, handler, writes))
