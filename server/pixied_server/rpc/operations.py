"""The unary operations of the backend, behind the unary RPCs and the Pipeline: check, delegate, translate."""

import asyncio
from collections.abc import Sequence

from pixied.v1 import message_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied_server.admin import Drain
from pixied_server.core.message import Message
from pixied_server.core.paging import PageRequest
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.tap import Taken, Tap, parse_cursor, tapped
from pixied_server.errors import Draining
from pixied_server.rpc.calls import first_of
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import fill_client, gaps_out, timestamp_out
from pixied_server.rpc.frames import messages_field
from pixied_server.rpc.writer import Answer

__all__ = ["MESSAGES_BYTES", "Operations"]

# One answer with messages ends at about so many bytes.
MESSAGES_BYTES = 1_000_000
_DESTROYED = "destroyed by request"


class Operations:
    """One method for each unary RPC of BackendService.

    Args:
        hub: the hub, and through it the engine.
        valid: checks requests.
        drain: the planned stop: after it has begun nothing new begins, and nothing waits.
        may_wait: whether DequeueFor may wait (not in a Pipeline).
    """

    def __init__(self, hub: Hub, valid: Validator, drain: Drain, *, may_wait: bool) -> None:
        self._hub = hub
        self._engine = hub.engine
        self._turns = hub.turns
        self._valid = valid
        self._drain = drain
        self._may_wait = may_wait

    async def generate_namespace(self, request: ops.GenerateNamespaceRequest) -> ops.GenerateNamespaceResponse:
        """GenerateNamespace."""
        length = self._valid.namespace_length(request.length)
        return ops.GenerateNamespaceResponse(namespace=await self._engine.generate_namespace(length))

    async def release_namespace(self, request: ops.ReleaseNamespaceRequest) -> ops.ReleaseNamespaceResponse:
        """ReleaseNamespace."""
        await self._engine.release_namespace(self._valid.name("namespace", request.namespace))
        return ops.ReleaseNamespaceResponse(released=True)

    async def create_client(self, request: ops.CreateClientRequest) -> ops.CreateClientResponse:
        """CreateClient."""
        self._refuse_new()
        timeout = self._valid.session_timeout(request.session_timeout if request.HasField("session_timeout") else None)
        self._valid.attributes(request.attributes)
        response = ops.CreateClientResponse()
        fill_client(response.client, await self._engine.create_client(timeout, request.attributes))
        return response

    async def get_client(self, request: ops.GetClientRequest) -> ops.GetClientResponse:
        """GetClient."""
        response = ops.GetClientResponse()
        fill_client(response.client, await self._engine.get_client(self._valid.name("client_id", request.client_id)))
        return response

    async def ping_client(self, request: ops.PingClientRequest) -> ops.PingClientResponse:
        """PingClient."""
        self._valid.one_of(client_id=request.client_id, client_ids=request.client_ids)
        if request.client_id:
            expires = await self._engine.ping_client(request.client_id)
            return ops.PingClientResponse(expires_at=None if expires is None else timestamp_out(expires))
        self._valid.batch("client_ids", request.client_ids)
        known = await self._engine.ping_clients(request.client_ids)
        response = ops.PingClientResponse()
        for client_id in request.client_ids:
            result = response.results.add(known=client_id in known)
            if (expires := known.get(client_id)) is not None:
                result.expires_at.CopyFrom(timestamp_out(expires))
        return response

    async def destroy_client(self, request: ops.DestroyClientRequest) -> ops.DestroyClientResponse:
        """DestroyClient."""
        client_id = self._valid.name("client_id", request.client_id)
        await self._engine.destroy_client(client_id, self._valid.text("reason", request.reason) or _DESTROYED)
        return ops.DestroyClientResponse(destroyed=True)

    async def subscribe(self, request: ops.SubscribeRequest) -> ops.SubscribeResponse:
        """Subscribe."""
        client_id = self._valid.name("client_id", request.client_id)
        self._valid.patterns(request.channels)
        response = ops.SubscribeResponse()
        response.added.extend(await self._engine.subscribe(client_id, request.channels))
        return response

    async def unsubscribe(self, request: ops.UnsubscribeRequest) -> ops.UnsubscribeResponse:
        """Unsubscribe."""
        client_id = self._valid.name("client_id", request.client_id)
        self._valid.known_patterns(request.channels)
        return ops.UnsubscribeResponse(removed=await self._engine.unsubscribe(client_id, request.channels))

    async def subscribers_of(self, request: ops.SubscribersOfRequest) -> ops.SubscribersOfResponse:
        """SubscribersOf."""
        self._valid.grammar.check_pattern(request.channel_pattern, field="channel_pattern")
        query = f"subscribers of {request.channel_pattern}"
        wanted = PageRequest.parse(query, request.page_size, request.page_token)
        async with self._turns.walk():
            page = await self._engine.subscribers_of(request.channel_pattern, wanted)
        return ops.SubscribersOfResponse(client_ids=page.items, next_page_token=page.next_token)

    async def subscribed_to(self, request: ops.SubscribedToRequest) -> ops.SubscribedToResponse:
        """SubscribedTo."""
        client_id = self._valid.name("client_id", request.client_id)
        return ops.SubscribedToResponse(channels=await self._engine.subscribed_to(client_id))

    async def client_subscribed(self, request: ops.ClientSubscribedRequest) -> ops.ClientSubscribedResponse:
        """ClientSubscribed."""
        client_id = self._valid.name("client_id", request.client_id)
        self._valid.grammar.check_pattern(request.channel)
        return ops.ClientSubscribedResponse(subscribed=await self._engine.client_subscribed(client_id, request.channel))

    async def queue_for(self, request: ops.QueueForRequest) -> ops.QueueForResponse:
        """QueueFor."""
        client_id = self._valid.name("client_id", request.client_id)
        messages = await self._messages(request.messages, queued=True)
        outcome = await self._engine.queue_for(client_id, messages)
        return ops.QueueForResponse(pending=outcome.pending, duplicates=outcome.duplicates)

    async def dequeue_for(self, request: ops.DequeueForRequest, answer: Answer | None = None) -> ops.DequeueForResponse:
        """DequeueFor. In a Pipeline the stream has room for the answers of all operations."""
        self._refuse_new()
        client_id = self._valid.name("client_id", request.client_id)
        count = self._valid.dequeue_size(request.max_messages)
        wait = self._valid.wait(request.wait, may_wait=self._may_wait)
        explicit = self._valid.ack_mode(request.ack_mode)
        cursor = parse_cursor(request.ack_cursor)
        async with tapped(self._hub, client_id, "DequeueFor", explicit=explicit, cursor=cursor) as tap:
            taken = await self._dequeue(tap, count, wait, answer)
            tap.all_taken()
        response = ops.DequeueForResponse(
            cursor=taken.cursor,
            redelivered=taken.redelivered,
            lost=sum(loss.count for loss in taken.losses),
            gaps=gaps_out(taken.losses),
        )
        response.MergeFromString(messages_field(taken.entries))
        return response

    async def publish(self, request: ops.PublishRequest) -> ops.PublishResponse:
        """Publish."""
        messages = await self._messages(request.messages, queued=False)
        outcomes = await self._engine.publish(messages)
        response = ops.PublishResponse()
        for outcome in outcomes:
            # In place: with constructors and their keywords it takes 4 times as long.
            result = response.results.add()
            result.matched_subscriptions = outcome.matched
            result.duplicate = outcome.duplicate
        return response

    async def _messages(self, messages: Sequence[wire.Message], *, queued: bool) -> list[Message]:
        """Check messages, each of which may be large. Nothing is done before all are good."""
        self._valid.batch("messages", messages)
        checked = []
        for index, message in enumerate(messages):
            if index and self._turns.over:
                await self._turns.give()
            checked.append(self._valid.message(index, message, queued=queued))
        return checked

    def _refuse_new(self) -> None:
        if self._drain.begun:
            raise Draining

    async def _dequeue(self, tap: Tap, count: int, wait: float, answer: Answer | None) -> Taken:
        """Take messages, and if there are none wait for some."""
        taken = await self._take(tap, count, answer)
        try:
            async with asyncio.timeout(wait):
                while wait and not taken.entries and not taken.losses and not self._drain.begun:
                    await first_of(tap.wait(), self._drain.wait())
                    taken = await self._take(tap, count, answer)
        except TimeoutError:
            pass
        return taken

    async def _take(self, tap: Tap, count: int, answer: Answer | None) -> Taken:
        """Take messages once there is room for them; with none, the room is for others."""
        if answer is not None:
            await answer.room(MESSAGES_BYTES)
        taken = await tap.take(messages=count, size=MESSAGES_BYTES)
        if answer is not None and not taken.entries:
            answer.give_back()
        return taken
