"""Every RPC of the contract, read from its descriptors."""

import re
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from pixied.v1 import admin_service_pb2, backend_service_pb2

__all__ = ["ADMIN", "BACKEND", "Rpc"]


class Rpc(NamedTuple):
    """One RPC: its path on the wire, its response's class, and the name of its field in a Pipeline's operation."""

    path: str
    field: str
    response: Any


def _rpc(service: ServiceDescriptor, method: MethodDescriptor) -> Rpc:
    return Rpc(
        path=f"/{service.full_name}/{method.name}",
        field=re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower(),
        response=GetMessageClass(method.output_type),
    )


def _rpcs(service: ServiceDescriptor) -> dict[str, Rpc]:
    return {method.name: _rpc(service, method) for method in service.methods}


BACKEND: Final = _rpcs(backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"])
ADMIN: Final = _rpcs(admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"])
