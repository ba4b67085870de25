"""AdminService: what this pixied holds, and how to stop it gently."""

from collections.abc import Callable
from dataclasses import dataclass

from pixied.v1 import admin_service_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.core.paging import PageRequest
from pixied_server.delivery.hub import Hub
from pixied_server.errors import TimeoutOutOfRange
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import channel_out, fill_client, seconds_in, timestamp_out
from pixied_server.rpc.frames import FRAME_BYTES

__all__ = ["AdminServicer", "Identity"]

_MAX_GRACE = 3_600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process this is: pixied's version, and when it started, in seconds since the epoch."""

    version: str
    started_at: float


class AdminServicer:
    """One method for each RPC of AdminService.

    Args:
        hub: the hub, and through it the engine.
        valid: checks requests.
        drain: the planned stop.
        identity: which process this is.
        links: tells how many Attach streams are open.
    """

    def __init__(self, hub: Hub, valid: Validator, drain: Drain, identity: Identity, links: Callable[[], int]) -> None:
        self._hub = hub
        self._engine = hub.engine
        self._valid = valid
        self._drain = drain
        self._identity = identity
        self._links = links

    async def get_info(self, _: wire.GetInfoRequest) -> wire.GetInfoResponse:
        """GetInfo."""
        return wire.GetInfoResponse(
            version=self._identity.version,
            engine=self._engine.name,
            started_at=timestamp_out(self._identity.started_at),
            draining=self._drain.begun,
            holdings=await self._holdings(),
            counters=self._counters(),
        )

    async def _holdings(self) -> wire.Holdings:
        holdings = await self._engine.holdings()
        return wire.Holdings(
            clients=holdings.clients,
            attached_clients=self._hub.owned,
            channels=holdings.channels,
            subscriptions=holdings.subscriptions,
            links=self._links(),
            messages=holdings.messages,
            bytes=holdings.bytes,
            namespaces=holdings.namespaces,
        )

    def _counters(self) -> wire.Counters:
        done, handed_out = self._engine.counters, self._hub.counters
        return wire.Counters(
            published=done.published,
            queued=done.queued,
            delivered=handed_out.delivered,
            redelivered=handed_out.redelivered,
            lost=handed_out.lost,
            duplicates=done.duplicates,
            clients_created=done.clients_created,
            clients_expired=done.clients_expired,
            clients_destroyed=done.clients_destroyed,
        )

    async def list_clients(self, request: wire.ListClientsRequest) -> wire.ListClientsResponse:
        """ListClients."""
        self._check_pattern(request.channel_pattern)
        front_end = self._valid.text("front_end", request.front_end)
        query = f"clients {request.channel_pattern} {front_end}"
        wanted = PageRequest.parse(query, request.page_size, request.page_token)
        async with self._hub.turns.walk():
            page = await self._engine.list_clients(wanted, pattern=request.channel_pattern, front_end=front_end)
        response = wire.ListClientsResponse(next_page_token=page.next_token)
        room = FRAME_BYTES
        async for client in self._hub.turns.through(page.items):
            if room < 0:
                response.next_page_token = wanted.token_after(response.clients[-1].client_id)
                break
            fill_client(response.clients.add(), client)
            room -= response.clients[-1].ByteSize()
        return response

    async def list_channels(self, request: wire.ListChannelsRequest) -> wire.ListChannelsResponse:
        """ListChannels."""
        self._check_pattern(request.channel_pattern)
        query = f"channels {request.channel_pattern}"
        wanted = PageRequest.parse(query, request.page_size, request.page_token)
        async with self._hub.turns.walk():
            page = await self._engine.list_channels(wanted, pattern=request.channel_pattern)
        return wire.ListChannelsResponse(channels=map(channel_out, page.items), next_page_token=page.next_token)

    async def drain(self, request: wire.DrainRequest) -> wire.DrainResponse:
        """Drain."""
        grace = seconds_in(request.grace) if request.HasField("grace") else None
        if grace is not None and not 0 <= grace <= _MAX_GRACE:
            raise TimeoutOutOfRange("grace", grace, 0.0, _MAX_GRACE)
        streams = self._drain.streams
        self._drain.begin(grace)
        return wire.DrainResponse(streams=streams)

    def _check_pattern(self, pattern: str) -> None:
        if pattern:
            self._valid.grammar.check_pattern(pattern, field="channel_pattern")
