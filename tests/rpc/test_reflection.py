"""Reflection: what tools ask that have no .proto file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as reflection
from tests.support.caller import within
from tests.support.contract import RPCS
from tests.support.site import Site

_PROTO = Path(__file__).parents[2] / "proto"
_FILES = sorted(str(path.relative_to(_PROTO)) for path in _PROTO.rglob("*.proto"))
_SERVICES = ["pixied.v1.BackendService", "pixied.v1.AdminService"]
_VERSIONS = ["v1", "v1alpha"]
_NOT_FOUND = grpc.StatusCode.NOT_FOUND.value[0]


class Tool:
    """A program that knows a server's address alone.

    Args:
        site: the server.
        version: of reflection.
    """

    def __init__(self, site: Site, version: str) -> None:
        self._call = site.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.ServerReflectionResponse.FromString,
        )()

    async def ask(self, **question: Any) -> reflection.ServerReflectionResponse:
        """Ask one thing."""
        await self._call.write(reflection.ServerReflectionRequest(**question))
        async with within():
            answer: reflection.ServerReflectionResponse = await self._call.read()
        return answer

    async def services(self) -> list[str]:
        """The services that the server lists."""
        answer = await self.ask(list_services="")
        return [service.name for service in answer.list_services_response.service]

    async def files(self, **question: Any) -> list[FileDescriptorProto]:
        """The files that answer a question; none if the server does not know."""
        answer = await self.ask(**question)
        assert answer.HasField("file_descriptor_response") or answer.error_response.error_code == _NOT_FOUND
        return [FileDescriptorProto.FromString(raw) for raw in answer.file_descriptor_response.file_descriptor_proto]


@pytest.fixture(params=_VERSIONS)
def tool(site: Site, request: pytest.FixtureRequest) -> Tool:
    return Tool(site, request.param)


async def test_all_services_are_listed(tool: Tool) -> None:
    """Reflection itself too, under both of its names."""
    own = [f"grpc.reflection.{version}.ServerReflection" for version in _VERSIONS]
    assert await tool.services() == sorted([*_SERVICES, "grpc.health.v1.Health", *own])


async def test_what_is_listed_is_described(tool: Tool) -> None:
    """Whoever asks for each service of the list, as `grpcurl describe` does, gets it, and each file that it imports."""
    for service in await tool.services():
        files = await tool.files(file_containing_symbol=service)
        assert service in {symbol for file in files for symbol in symbols(file)}
        assert {imported for file in files for imported in file.dependency} <= {file.name for file in files}


async def test_every_rpc_is_described(tool: Tool) -> None:
    """The files that it hands out hold all methods: grpcurl needs no .proto file."""
    described = [file for service in _SERVICES for file in await tool.files(file_containing_symbol=service)]
    assert {method.name for file in described for one in file.service for method in one.method} == set(RPCS)


async def test_every_file_of_the_contract_is_there(tool: Tool) -> None:
    """By its name, also if no service imports it."""
    for name in _FILES:
        assert name in {file.name for file in await tool.files(file_by_filename=name)}


async def test_every_symbol_is_found(tool: Tool) -> None:
    """Services and methods, messages and fields, enums and values: of the contract, of health and of reflection."""
    seen: dict[str, FileDescriptorProto] = {}
    for service in await tool.services():
        seen |= {file.name: file for file in await tool.files(file_containing_symbol=service)}
    for name in _FILES:
        seen |= {file.name: file for file in await tool.files(file_by_filename=name)}
    asked = {symbol: file.name for file in seen.values() for symbol in symbols(file)}
    found = {symbol: file.name for symbol in asked for file in (await tool.files(file_containing_symbol=symbol))[:1]}
    assert found == asked
    assert "pixied.v1.ErrorReason" in found
    assert "pixied.v1.BackendService.Publish" in found
    assert "grpc.reflection.v1.ServerReflection.ServerReflectionInfo" in found
    assert "google.rpc.ErrorInfo" in found


async def test_what_does_not_exist_is_not_found(tool: Tool) -> None:
    """A misspelt name is an answer, not the end of the stream."""
    for name in ("", ".", "pixied", "pixied.v1", "pixied.v1.Nothing", "pixied.v1.BackendService.Nothing", "Publish"):
        assert not await tool.files(file_containing_symbol=name)
        assert not await tool.files(file_by_filename=name)
        assert not await tool.files(file_containing_extension={"containing_type": name, "extension_number": 1})
        assert (await tool.ask(all_extension_numbers_of_type=name)).error_response.error_code == _NOT_FOUND
    assert await tool.services()


async def test_messages_without_extensions_have_none(tool: Tool) -> None:
    """The contract has no extensions, and says so."""
    answer = await tool.ask(all_extension_numbers_of_type="pixied.v1.Message")
    assert answer.HasField("all_extension_numbers_response")
    assert not answer.all_extension_numbers_response.extension_number


async def test_nothing_but_what_is_served_is_told(tool: Tool) -> None:
    """Not the descriptors of whatever else the process has imported, such as protobuf's own."""
    assert not await tool.files(file_containing_symbol="google.protobuf.FileDescriptorProto")


def symbols(file: FileDescriptorProto) -> Iterator[str]:
    """The full names of all that a file defines."""
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    for message in file.message_type:
        yield from _of_message(message, file.package)
    for enum in file.enum_type:
        yield from _of_enum(enum, file.package)


def _of_message(message: DescriptorProto, scope: str) -> Iterator[str]:
    name = f"{scope}.{message.name}"
    yield name
    yield from (f"{name}.{field.name}" for field in (*message.field, *message.oneof_decl))
    for nested in message.nested_type:
        yield from _of_message(nested, name)
    for enum in message.enum_type:
        yield from _of_enum(enum, name)


def _of_enum(enum: EnumDescriptorProto, scope: str) -> Iterator[str]:
    # An enum's values are its siblings, not its children.
    yield f"{scope}.{enum.name}"
    yield from (f"{scope}.{value.name}" for value in enum.value)
