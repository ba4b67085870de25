"""The contract as clients know it: RPCs and their messages by name, and what the .proto's comments promise."""

import re
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pixied.v1 import admin_service_pb2, backend_service_pb2

__all__ = ["RPCS", "documented_codes", "input_of", "output_of", "path_of"]

_SERVICES = (
    backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
)
_ERRORS = Path(__file__).parents[2] / "proto/pixied/v1/errors.proto"

RPCS: Mapping[str, MethodDescriptor] = {method.name: method for service in _SERVICES for method in service.methods}
"""Every RPC of both services, by name."""


def path_of(rpc: str) -> str:
    """Where an RPC is called."""
    method = RPCS[rpc]
    return f"/{method.containing_service.full_name}/{method.name}"


def input_of(rpc: str) -> type[Message]:
    """An RPC's request."""
    return GetMessageClass(RPCS[rpc].input_type)


def output_of(rpc: str) -> type[Message]:
    """An RPC's response."""
    return GetMessageClass(RPCS[rpc].output_type)


def documented_codes() -> dict[str, str]:
    """The gRPC code of each error reason, as the comments of errors.proto have it."""
    found = re.findall(r"// ([A-Z_]+): [^\n]*(?:\n +//[^\n]*)*\n +ERROR_REASON_(\w+) = ", _ERRORS.read_text())
    return {reason: code for code, reason in found}
