"""Server reflection: what tools need to call the services without a .proto file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from pixied.v1 import admin_service_pb2, backend_service_pb2, errors_pb2
from pixied_server.rpc.calls import decoded, stream_call
from pixied_server.rpc.writer import Writer
from pixied_server.rpc.writes import Writes

__all__ = ["reflection"]

# With all that they import. No service imports errors and their details: they travel in statuses.
_MODULES = (
    admin_service_pb2,
    backend_service_pb2,
    errors_pb2,
    error_details_pb2,
    health_pb2,
    reflection_pb2,
)
_FILES: tuple[FileDescriptor, ...] = tuple(module.DESCRIPTOR for module in _MODULES)
_VERSIONS = ("v1", "v1alpha")


def reflection(services: Sequence[str], writes: Writes) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the handlers of reflection v1 and v1alpha, which list these services and reflection itself.

    The library serves v1alpha alone, and not every tool falls back to it. Both versions have the same messages.

    Args:
        services: full names.
        writes: the account of all writes.
    """
    names = tuple(f"grpc.reflection.{version}.ServerReflection" for version in _VERSIONS)
    # Its types say that it returns a coroutine; it is an asynchronous generator.
    servicer: Any = ReflectionServicer((*services, *names), _Symbols())

    async def answer(requests: AsyncIterator[bytes], writer: Writer) -> None:
        asked = decoded(reflection_pb2.ServerReflectionRequest, requests)
        async with aclosing(servicer.ServerReflectionInfo(asked, None)) as responses:
            async for response in responses:
                await writer.write(response.SerializeToString())

    method: Any = grpc.stream_stream_rpc_method_handler(stream_call("ServerReflectionInfo", answer, writes))
    return tuple(grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in names)


class _Symbols:
    """What the server serves, and nothing else that this process happens to import.

    The part of a `DescriptorPool` that the library's servicer asks; it finds methods too, which a pool does not. (A
    class derived from `DescriptorPool` makes plain pools.) Each method raises KeyError for what is not there.
    """

    def __init__(self) -> None:
        self._pool = DescriptorPool()
        self._added: set[str] = set()
        for file in _FILES:
            self._add(file)
        self._pool.AddSerializedFile(_reflection_v1().SerializeToString())
        self.FindFileByName = self._pool.FindFileByName
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802
        """Return the file that defines a symbol: a service, method, message, field, enum or enum's value."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file

    def _add(self, file: FileDescriptor) -> None:
        if file.name in self._added:
            return
        self._added.add(file.name)
        for imported in file.dependencies:
            self._add(imported)
        self._pool.AddSerializedFile(file.serialized_pb)


def _reflection_v1() -> FileDescriptorProto:
    """Return the file of `grpc.reflection.v1`, which differs from v1alpha's in names, and is not deprecated."""
    alpha = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    file.options.ClearField("deprecated")
    return file
