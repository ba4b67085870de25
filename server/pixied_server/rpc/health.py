"""Health checks (grpc.health.v1): what is served, asked once or watched.

The library's own servicer keeps a lock while it writes to a watcher. One that reads nothing would hold up each change
of health, and with it the planned stop.
"""

import asyncio
from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2 as wire

from pixied_server.errors import FieldInvalid
from pixied_server.rpc.calls import decode, status_for, stream_call
from pixied_server.rpc.context import Context
from pixied_server.rpc.status import end
from pixied_server.rpc.writer import Writer
from pixied_server.rpc.writes import Writes

__all__ = ["Health"]

_NAME = "grpc.health.v1.Health"


class Health:
    """What each service's health is, and who watches it.

    Args:
        services: their names; "" is the process.
        writes: the account of all writes.
    """

    def __init__(self, services: Iterable[str], writes: Writes) -> None:
        self._status: dict[str, int] = dict.fromkeys(services, wire.HealthCheckResponse.SERVICE_UNKNOWN)
        self._writes = writes
        # Set, and replaced, when a status has changed.
        self._changed = asyncio.Event()

    def set(self, service: str, *, serving: bool) -> None:
        """Change a service's health."""
        self._status[service] = wire.HealthCheckResponse.SERVING if serving else wire.HealthCheckResponse.NOT_SERVING
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def handlers(self) -> grpc.GenericRpcHandler:
        """What serves the checks."""
        return grpc.method_handlers_generic_handler(
            _NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(stream_call("health Watch", self._watch, self._writes)),
            },
        )

    async def _check(self, raw: bytes, context: Context) -> bytes:
        try:
            service = decode(wire.HealthCheckRequest, raw).service
        except FieldInvalid as error:
            end(context, status_for(error, "health Check"))
            return b""
        if service not in self._status:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            return b""
        return _encoded(self._status[service])

    async def _watch(self, raw: bytes, writer: Writer) -> None:
        service = decode(wire.HealthCheckRequest, raw).service
        told: int | None = None
        while True:
            changed = self._changed
            status = self._status.get(service, wire.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await writer.write(_encoded(status))
            told = status
            await changed.wait()


def _encoded(status: int) -> bytes:
    return wire.HealthCheckResponse(status=status).SerializeToString()
