"""The gRPC server: services, health, reflection, transport settings."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from pixied.v1 import admin_service_pb2, backend_service_pb2
from pixied_server.admin import Drain
from pixied_server.delivery.hub import Hub
from pixied_server.rpc.addresses import AddressInUse, unusable
from pixied_server.rpc.admin import AdminServicer, Identity
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.calls import method_name
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.connections import cut
from pixied_server.rpc.deliver import DeliverServicer
from pixied_server.rpc.health import Health
from pixied_server.rpc.operations import Operations
from pixied_server.rpc.pipeline import PipelineServicer
from pixied_server.rpc.reflection import reflection
from pixied_server.rpc.services import bind
from pixied_server.rpc.watch import WatchServicer
from pixied_server.rpc.writes import WriteLimits, Writes

__all__ = ["RpcServer", "Transport"]

BACKEND = backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"]
ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
_HEALTH = "grpc.health.v1.Health"
_log = structlog.get_logger(__name__)

_SERVICES = ("", BACKEND.full_name, ADMIN.full_name)
# What the frames around a message may add where it may be as large as a request.
_FRAMING = 65_536
# Calls of all connections that have come and were not begun.
_PENDING = 100_000


@dataclass(frozen=True, slots=True)
class Transport:
    """How the server is reached.

    Attributes:
        addresses: `host:port` or `unix:///path`; port 0 for any free one.
        max_request_bytes: how large a request or frame may be.
        max_streams: how many calls one connection may have under way.
        shared: other processes of this installation listen there too, and the system spreads connections over them.
    """

    addresses: Sequence[str]
    max_request_bytes: int
    max_streams: int
    shared: bool = False

    @property
    def options(self) -> list[tuple[str, int]]:
        """What gRPC has to know. It ignores an option that it does not know, without a word."""
        return [
            ("grpc.max_receive_message_length", self.max_request_bytes + _FRAMING),
            # A second server on the same port is a mistake that must be seen, unless it is meant.
            ("grpc.so_reuseport", self.shared),
            # Clients know it and let further calls wait. Without it four connections that open streams as fast as
            # they can cost 3.5 GB in 8 seconds; with it 0.2 GB.
            ("grpc.max_concurrent_streams", self.max_streams),
            # When thousands of front-ends come back at once: of 2,000 streams opened together some 200 failed without.
            ("grpc.server.max_pending_requests", _PENDING),
            # The SDKs ping every 30 s; whoever pings up to every 10 s is let live, also while no call is under way.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", True),
            ("grpc.keepalive_time_ms", 30_000),
            # The option `keepalive_timeout_ms` would not do: without this one a ping may stay unanswered for a minute.
            ("grpc.http2.ping_timeout_ms", 10_000),
        ]


class RpcServer:
    """Serves the contract.

    Args:
        hub: the hub, and through it the engine.
        valid: checks requests.
        drain: the planned stop.
        terms: what holds for every link.
        identity: which process this is.
        transport: how it is reached.
        limits: how much may be written to callers, and how long that may take.
    """

    def __init__(
        self,
        hub: Hub,
        valid: Validator,
        drain: Drain,
        terms: LinkTerms,
        identity: Identity,
        transport: Transport,
        limits: WriteLimits,
    ) -> None:
        self._transport = transport
        self._drain = drain
        self._writes = Writes(limits, self._cut, monotonic)
        self._cutting: set[asyncio.Future[int]] = set()
        self._health = Health(_SERVICES, self._writes)
        self._server = grpc.aio.server(options=transport.options)
        attach = AttachServicer(hub, valid, drain, terms)
        admin = AdminServicer(hub, valid, drain, identity, lambda: attach.links)
        administration = bind(ADMIN, self._methods(ADMIN, admin), self._writes, hub.turns)
        handlers = (self._backend(hub, valid, attach), administration)
        self._server.add_generic_rpc_handlers(handlers)
        shown = reflection((BACKEND.full_name, ADMIN.full_name, _HEALTH), self._writes)
        self._server.add_generic_rpc_handlers((self._health.handlers, *shown))

    async def start(self) -> list[str]:
        """Listen. Returns the addresses, with the ports that were chosen.

        Raises:
            AddressInUse: one of them can't be listened on.
        """
        addresses = [self._listen(address) for address in self._transport.addresses]
        await self._server.start()
        self.set_serving(serving=True)
        return addresses

    def set_serving(self, *, serving: bool) -> None:
        """What health checks are told."""
        for service in _SERVICES:
            self._health.set(service, serving=serving)

    def set_data_serving(self, *, serving: bool) -> None:
        """What health checks of the two services are told, while the server as a whole lives."""
        for service in _SERVICES[1:]:
            self._health.set(service, serving=serving)

    async def stop(self, grace: float) -> None:
        """Stop. Calls that are still under way are cut after so many seconds."""
        await self._server.stop(grace)

    def _cut(self, peer: str) -> None:
        """Cut a connection; in a thread, for all sockets of the process have to be looked at."""
        cutting = asyncio.get_running_loop().run_in_executor(None, cut, peer)
        self._cutting.add(cutting)
        cutting.add_done_callback(partial(self._note_cut, peer))

    def _note_cut(self, peer: str, cutting: "asyncio.Future[int]") -> None:
        self._cutting.discard(cutting)
        # Not of a Unix socket, or one that was gone by itself.
        if not cutting.cancelled() and cutting.result():
            _log.warning("connection cut: it received nothing, and others had no room", peer=peer)

    def _listen(self, address: str) -> str:
        if not self._transport.shared and (why := unusable(address)):
            raise AddressInUse(address, why)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise AddressInUse(address, "it is in use, or not an address of this machine") from None
        return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"

    def _backend(self, hub: Hub, valid: Validator, attach: AttachServicer) -> grpc.GenericRpcHandler:
        operations = Operations(hub, valid, self._drain, may_wait=True)
        pipelined = Operations(hub, valid, self._drain, may_wait=False)
        streams: dict[str, Callable[..., Any]] = {
            "deliver": DeliverServicer(hub, valid, self._drain).deliver,
            "attach": attach.attach,
            "pipeline": PipelineServicer(pipelined, hub.engine, self._drain, valid.limits.max_batch_items).pipeline,
            "watch": WatchServicer(hub, valid, self._drain).watch,
        }
        return bind(BACKEND, self._methods(BACKEND, operations) | streams, self._writes, hub.turns)

    def _methods(self, service: ServiceDescriptor, servicer: object) -> dict[str, Callable[..., Any]]:
        """The servicer's methods for a service's RPCs; what it lacks is left out, so that `bind` complains."""
        names = {method_name(method.name) for method in service.methods}
        return {name: self._waited_for(getattr(servicer, name)) for name in names if hasattr(servicer, name)}

    def _waited_for(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def under_way(*request: Any) -> Any:
            with self._drain.call():
                return await method(*request)

        return under_way
