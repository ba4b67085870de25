"""`pixied call`: any RPC of the contract, by hand, with JSON in and JSON out."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any

import grpc
import typer
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.message_factory import GetMessageClass

from pixied.v1 import admin_service_pb2, backend_service_pb2
from pixied_client.channel import open_sync_channel
from pixied_client.errors import from_call
from pixied_server.cli.connection import ServerAddress, reaching
from pixied_server.cli.json_lines import LineError
from pixied_server.cli.standard_input import arriving_lines

__all__ = ["call"]

STANDARD_INPUT = "-"
UNARY_TIMEOUT = 10.0
"""Seconds that a single answer may take."""

_FILES = (backend_service_pb2.DESCRIPTOR, admin_service_pb2.DESCRIPTOR)
METHODS: dict[str, MethodDescriptor] = {
    method.name: method for file in _FILES for service in file.services_by_name.values() for method in service.methods
}
"""Every RPC of the contract, by its name; a test checks that no two services have one of the same name."""


def _names(incomplete: str) -> list[str]:
    return [name for name in METHODS if name.lower().startswith(incomplete.lower())]


def call(
    rpc: Annotated[
        str, typer.Argument(metavar="RPC", autocompletion=_names, help="Such as Publish or AdminService/GetInfo.")
    ],
    request: Annotated[str, typer.Argument(metavar="JSON", help="The request; - reads it from standard input.")] = "{}",
    *,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="Default: 10, for a stream none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Each response on one line.")] = False,
    address: ServerAddress = None,
) -> None:
    """Call any RPC of the contract, with JSON in and JSON out.

    For Attach and Pipeline, - reads one request per line and sends it at once; the end of the input ends the stream.
    """
    method = _method(rpc)
    requests = _Requests(method, request)
    streaming = method.client_streaming or method.server_streaming
    deadline = timeout if timeout or streaming else UNARY_TIMEOUT
    with reaching(address) as known, open_sync_channel(known) as channel:
        try:
            for response in _responses(channel, method, requests, deadline):
                _show(response, as_json=as_json)
        except grpc.RpcError as failure:
            raise from_call(failure, known) from failure
    if requests.problem:
        raise requests.problem


def _method(rpc: str) -> MethodDescriptor:
    service, _, name = rpc.rpartition("/")
    found = METHODS.get(name)
    if found and service.rpartition(".")[2] in {"", found.containing_service.name}:
        return found
    close = difflib.get_close_matches(name, METHODS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise typer.BadParameter(f"there is no RPC {rpc!r}; {hint}right would be {', '.join(sorted(METHODS))}")


class _Requests:
    """The requests, parsed as they are taken; a stream's come line by line from standard input.

    A bad one ends them, and is kept as `problem`: what was sent before is answered first. (gRPC takes the requests of a
    stream in a thread of its own, where an error would end the stream with UNKNOWN and no word about the line.)
    """

    def __init__(self, method: MethodDescriptor, given: str) -> None:
        self.problem: LineError | None = None
        self._method = method
        self._given = given

    def only(self) -> ProtobufMessage:
        """The request of an RPC that takes one."""
        text = sys.stdin.read() if self._given == STANDARD_INPUT else self._given
        return self._parse(text, "the request")

    def __iter__(self) -> Iterator[ProtobufMessage]:
        try:
            for number, text in enumerate(self._texts(), start=1):
                if text.strip():
                    yield self._parse(text, f"line {number}")
        except LineError as error:
            self.problem = error

    def _texts(self) -> Iterator[str | bytes]:
        return chain.from_iterable(arriving_lines()) if self._given == STANDARD_INPUT else iter([self._given])

    def _parse(self, text: str | bytes, what: str) -> ProtobufMessage:
        kind = self._method.input_type
        try:
            return json_format.Parse(text, GetMessageClass(kind)())
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise LineError(f"{what} is no {kind.name}: {error}") from error


def _responses(
    channel: grpc.Channel, method: MethodDescriptor, requests: _Requests, timeout: float | None
) -> Iterable[ProtobufMessage]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, True): channel.stream_stream,
    }
    start: Any = kinds[method.client_streaming, method.server_streaming](
        path, _serialize, GetMessageClass(method.output_type).FromString
    )
    answer = start(iter(requests) if method.client_streaming else requests.only(), timeout=timeout)
    return answer if method.server_streaming else [answer]


def _serialize(message: ProtobufMessage) -> bytes:
    return message.SerializeToString()


def _show(response: ProtobufMessage, *, as_json: bool) -> None:
    text = json_format.MessageToJson(
        response,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
        indent=None if as_json else 2,
    )
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
