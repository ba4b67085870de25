"""Attach: a front-end's link on a gRPC stream."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import monotonic

import structlog

from pixied.v1 import attach_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.core.completion import completed
from pixied_server.core.turns import Turns
from pixied_server.delivery.events import Closing
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import AttachTerms, Link, LinkLimits
from pixied_server.errors import Draining, FieldInvalid, PixiedError, StreamProtocol
from pixied_server.rpc.calls import decoded, first_of
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import duration_out
from pixied_server.rpc.frames import FRAME_BYTES, attach_frames
from pixied_server.rpc.writer import Writer

__all__ = ["AttachServicer", "LinkTerms"]

_log = structlog.get_logger(__name__)

_DEFAULT_WINDOW = 64
_MAX_WINDOW = 65_536


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """What holds for every link.

    Attributes:
        heartbeat_interval: how often a heartbeat is sent, in seconds.
        silence_limit: after how many seconds without a frame from the front-end it is dropped.
        limits: how much a link may have.
        version: pixied's.
    """

    heartbeat_interval: float
    silence_limit: float
    limits: LinkLimits
    version: str


class AttachServicer:
    """Opens links.

    Args:
        hub: the hub.
        valid: checks requests.
        drain: knows of open streams, and when they have to end.
        terms: what holds for every link.
    """

    def __init__(self, hub: Hub, valid: Validator, drain: Drain, terms: LinkTerms) -> None:
        self._hub = hub
        self._valid = valid
        self._drain = drain
        self._terms = terms
        self.links = 0

    async def attach(self, requests: AsyncIterator[bytes], writer: Writer) -> None:
        """Serve one stream to its end."""
        frames = decoded(wire.AttachRequest, requests)
        with self._drain.stream():
            first = await self._first(frames)
            if first is None:
                return
            link = await self._open(first, writer)
            self.links += 1
            _log.info("link opened", front_end=link.front_end)
            try:
                conversation = _Conversation(
                    link, self._valid, self._drain, self._terms, frames, writer, self._hub.turns
                )
                await conversation.run(first)
            finally:
                self.links -= 1
                _log.info("link closed", front_end=link.front_end, clients=len(link))
                # A call whose front-end died ends, and is cancelled too: its clients are let go of all the same.
                await completed(link.close())

    async def _first(self, frames: AsyncIterator[wire.AttachRequest]) -> wire.AttachRequest | None:
        try:
            async with asyncio.timeout(self._terms.silence_limit):
                return await anext(frames, None)
        except TimeoutError:
            raise StreamProtocol(f"no `hello` came within {self._terms.silence_limit:g} s") from None

    async def _open(self, first: wire.AttachRequest, writer: Writer) -> Link:
        hello = first.commands[0].hello if first.commands and first.commands[0].HasField("hello") else None
        if hello is None:
            raise StreamProtocol("the first command of the stream must be `hello`")
        name = self._valid.name("hello.front_end", hello.front_end)
        if hello.window > _MAX_WINDOW:
            raise FieldInvalid("hello.window", f"{hello.window:,} is out of range; it may be 1 to {_MAX_WINDOW:,}")
        window = hello.window or _DEFAULT_WINDOW
        await writer.write(self._welcome(window).SerializeToString())
        return Link(self._hub, name, window, self._terms.limits)

    def _welcome(self, window: int) -> wire.AttachResponse:
        welcome = wire.Welcome(
            server_version=self._terms.version,
            heartbeat_interval=duration_out(self._terms.heartbeat_interval),
            silence_limit=duration_out(self._terms.silence_limit),
            window=window,
            max_commands=self._valid.limits.max_batch_items,
            max_clients=self._terms.limits.clients,
            max_message_bytes=self._valid.limits.max_message_bytes,
        )
        return wire.AttachResponse(events=[wire.AttachEvent(welcome=welcome)])


class _Conversation:
    """One stream: what the front-end says, what it is told, and who notices that it is gone."""

    def __init__(
        self,
        link: Link,
        valid: Validator,
        drain: Drain,
        terms: LinkTerms,
        frames: AsyncIterator[wire.AttachRequest],
        writer: Writer,
        turns: Turns,
    ) -> None:
        self._link = link
        self._turns = turns
        self._valid = valid
        self._drain = drain
        self._terms = terms
        self._frames = frames
        self._writer = writer
        self._heard_at = monotonic()
        # While its commands are done nobody listens.
        self._obeying = False

    async def run(self, first: wire.AttachRequest) -> None:
        """Talk until the front-end ends the stream, goes silent or breaks the protocol."""
        await self._obey(first, skip=1)
        await first_of(self._listen(), self._talk(), self._keep_time(), self._announce_stop())

    async def _listen(self) -> None:
        async for request in self._frames:
            self._obeying = True
            await self._obey(request)
            self._obeying = False
            self._heard_at = monotonic()
            await self._link.hold_back()

    async def _talk(self) -> None:
        while True:
            await self._link.wait()
            async with self._writer.room(FRAME_BYTES):
                for frame in attach_frames(await self._link.take(), lambda: self._turns.over):
                    await self._writer.write(frame)
                    await self._turns.give()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(self._terms.heartbeat_interval)
            silence = monotonic() - self._heard_at
            if silence > self._terms.silence_limit and not self._obeying:
                raise StreamProtocol(f"this link was silent for {silence:.1f} s; answer each heartbeat")
            self._link.beat()

    async def _announce_stop(self) -> None:
        await self._drain.wait()
        self._link.notify(Closing(self._drain.delay_ms()))
        # From here on it is for the front-end to end the stream; if it does not, the grace period does.
        await asyncio.get_running_loop().create_future()

    async def _obey(self, request: wire.AttachRequest, *, skip: int = 0) -> None:
        commands = request.commands
        if not commands:
            raise StreamProtocol("a frame without a command")
        if len(commands) > self._valid.limits.max_batch_items:
            raise StreamProtocol(
                f"a frame of {len(commands):,} commands; {self._valid.limits.max_batch_items:,} may be"
            )
        # A client may have to wait for the engine, but not for other clients: as many are attached together as stand
        # together in the frame and bear different handles.
        attaches: dict[int, wire.AttachClient] = {}
        async for command in self._turns.through(commands[skip:]):
            is_attach = command.WhichOneof("command") == "attach"
            if not is_attach or command.attach.handle in attaches:
                await self._attach_all(attaches)
            if is_attach:
                attaches[command.attach.handle] = command.attach
            else:
                await self._do(command)
        await self._attach_all(attaches)

    async def _attach_all(self, attaches: dict[int, wire.AttachClient]) -> None:
        """Attach clients, and forget that it was to be done."""
        requests = list(attaches.values())
        attaches.clear()
        await self._link.together(self._attach(request) for request in requests)

    async def _do(self, command: wire.AttachCommand) -> None:
        match command.WhichOneof("command"):
            case "attach":
                await self._attach(command.attach)
            case "detach":
                await self._link.detach(command.detach.handle)
            case "ack":
                await self._link.ack(command.ack.number)
            case "client_ack":
                await self._link.client_ack(command.client_ack.handle, command.client_ack.number)
            case "heartbeat":
                pass
            case "hello":
                raise StreamProtocol("`hello` came twice; it opens the stream and comes once")
            case _:
                raise StreamProtocol("a command that is not set, or not known to this server")

    async def _attach(self, request: wire.AttachClient) -> None:
        explicit = self._valid.ack_mode(request.ack_mode)
        try:
            if self._drain.begun:
                raise Draining
            # Browsers choose what stands here: one client's wrong id must not end the link of all.
            client_id = self._valid.name("attach.client_id", request.client_id)
        except PixiedError as error:
            self._link.refuse(request.handle, error)
        else:
            terms = AttachTerms(explicit=explicit, expires=request.expires, cursor=request.ack_cursor)
            await self._link.attach(client_id, request.handle, terms)
