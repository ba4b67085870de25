"""The composition root: one server, made of its parts, from start to end."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from random import Random
from time import monotonic, time

import structlog

from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.core.log import Bounds
from pixied_server.core.pauses import Pauses
from pixied_server.core.turns import Turns
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.link import LinkLimits
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.abc import Engine
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.memory import MemoryEngine
from pixied_server.engine.redis import (
    Address,
    AddressInvalid,
    Finding,
    Layout,
    RedisEngine,
    Severity,
    Store,
    StoreUnavailable,
)
from pixied_server.errors import EngineUnavailable
from pixied_server.rpc.addresses import AddressInUse
from pixied_server.rpc.admin import Identity
from pixied_server.rpc.attach import LinkTerms
from pixied_server.rpc.checks import RequestLimits, Validator
from pixied_server.rpc.server import RpcServer, Transport
from pixied_server.rpc.writes import WriteLimits
from pixied_server.settings import Settings

__all__ = ["VERSION", "AddressInUse", "EngineRefused", "run", "serve"]

VERSION = version("pixied")

_LAST_WORDS = 1.0
# A connection that received nothing for this part of the time for a write may be cut to make room for others.
_STUCK = 1 / 12
# How often health is looked at, in seconds.
_HEALTH = 0.25
# How often a store is inspected, in seconds.
_INSPECTION = 5.0

_log = structlog.get_logger(__name__)


class EngineRefused(Exception):
    """The engine can't be used: its address is wrong, or its store can't be reached or would lose messages."""


def run(settings: Settings, *, shared: bool = False) -> None:
    """Serve until a planned stop (SIGTERM, SIGINT or AdminService.Drain) is finished.

    Args:
        settings: the settings.
        shared: other processes of this installation listen on the same addresses.

    Raises:
        AddressInUse: an address can't be listened on.
        EngineRefused: the engine can't be used.
    """
    _spare_the_collector()
    asyncio.run(serve(settings, shared=shared))


async def serve(
    settings: Settings, *, shared: bool = False, listening: Callable[[list[str]], None] | None = None
) -> None:
    """As `run`, within a running loop.

    Args:
        settings: the settings.
        shared: as for `run`.
        listening: is called with the addresses, once the server is reached there.

    Raises:
        AddressInUse: an address can't be listened on.
        EngineRefused: the engine can't be used.
    """
    clock = _clock()
    random = Random()  # noqa: S311 - spreads load, guards nothing
    drain = Drain(settings.grace, lambda: _log.info("draining"), random)
    async with AsyncExitStack() as stack:
        turns = Turns()
        engine = await stack.enter_async_context(_opened(settings, clock, turns))
        hub = Hub(engine, Watchers(settings.watch_buffer, turns), clock, turns)
        server = _server(settings, hub, drain, clock(), shared=shared)
        addresses = await server.start()
        stack.callback(_log.info, "stopped")
        stack.push_async_callback(server.stop, 0.0)
        _stop_on_signals(drain, stack)
        _log.info("listening", addresses=addresses, engine=engine.name, version=VERSION, process_id=os.getpid())
        if listening is not None:
            listening(addresses)
        await _until_drained(engine, server, drain)


def _spare_the_collector() -> None:
    """Have cycles looked for among young objects, and hardly ever among all.

    What a store holds is in no cycles. To walk it took a quarter of the time in which 300,000 clients came, in pauses
    of up to 0.2 s that grew with the store; now none takes more than some 15 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000)


async def _until_drained(engine: Engine, server: RpcServer, drain: Drain) -> None:
    """Run the engine until the planned stop is over; an engine that fails ends the server at once."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(engine.run())
        reporting = tasks.create_task(_report_health(engine, server))
        await drain.wait()
        reporting.cancel()
        server.set_serving(serving=False)
        in_time = await drain.finished()
        if not in_time:
            _log.warning("grace is over, streams are cut", streams=drain.streams)
        # Answers that are being written have a moment; tools that keep a health check open have no more than that.
        await server.stop(_LAST_WORDS if in_time else 0.0)
        running.cancel()


async def _report_health(engine: Engine, server: RpcServer) -> None:
    """Tell health checks of the data services whether the engine can be used; the process itself stays alive."""
    was = ""
    while True:
        trouble = engine.trouble
        if trouble and trouble != was:
            _log.error("engine is unavailable", why=trouble)
        elif was and not trouble:
            _log.info("engine answers")
        if bool(trouble) != bool(was):
            server.set_data_serving(serving=not trouble)
        was = trouble
        await asyncio.sleep(_HEALTH)


def _stop_on_signals(drain: Drain, stack: AsyncExitStack) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.begin)
        stack.callback(loop.remove_signal_handler, number)


def _clock() -> Callable[[], float]:
    """Seconds since the epoch that never jump: sessions must not end because the machine's clock was set."""
    offset = time() - monotonic()
    return lambda: monotonic() + offset


@asynccontextmanager
async def _opened(settings: Settings, clock: Callable[[], float], turns: Turns) -> AsyncIterator[Engine]:
    """The engine, ready for use as long as the context lasts."""
    if settings.engine == "memory":
        yield MemoryEngine(_limits(settings), clock, Pauses(clock), turns)
        return
    try:
        store = Store(Address.parse(settings.engine), timeout=settings.redis_timeout)
        await store.open()
    except (AddressInvalid, StoreUnavailable) as error:
        raise EngineRefused(f"the store can't be used: {error}") from None
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        layout = Layout(settings.redis_prefix, settings.redis_partitions)
        inspect = partial(
            # With a key of ours: a user of the store may have no right to any other.
            store.inspect,
            layout.key,
            replicas=settings.redis_min_replicas,
            total_bytes=settings.max_total_bytes,
        )
        known = await _inspect(inspect)
        watching = asyncio.create_task(_inspect_again(inspect, known))
        stack.callback(watching.cancel)
        engine = RedisEngine(
            store,
            layout,
            _limits(settings),
            timeout=settings.redis_timeout,
            replicas=settings.redis_min_replicas,
        )
        stack.push_async_callback(engine.close)
        try:
            await engine.open()
        except EngineUnavailable as error:
            raise EngineRefused(str(error)) from None
        yield engine


async def _inspect(inspect: Callable[[], Awaitable[Sequence[Finding]]]) -> Sequence[Finding]:
    """Refuse a store that can't work or will lose messages; say what is risky."""
    try:
        found = await inspect()
    except StoreUnavailable as error:
        raise EngineRefused(f"the store can't be used: {error}") from None
    for finding in found:
        if finding.severity is Severity.ERROR:
            raise EngineRefused(finding.text)
        _log.warning(finding.text)
    return found


async def _inspect_again(inspect: Callable[[], Awaitable[Sequence[Finding]]], known: Sequence[Finding]) -> None:
    """Say what has become wrong or risky about a store in use."""
    while True:
        await asyncio.sleep(_INSPECTION)
        try:
            found = await inspect()
        except StoreUnavailable:
            # That is said where it is used.
            continue
        except Exception:  # noqa: BLE001 - what is wrong later is to be found all the same
            _log.exception("the store could not be inspected")
            continue
        for finding in found:
            if finding not in known:
                tell = _log.error if finding.severity is Severity.ERROR else _log.warning
                tell(finding.text)
        known = found


def _limits(settings: Settings) -> EngineLimits:
    return EngineLimits(
        clients=settings.max_clients,
        subscriptions_per_client=settings.max_subscriptions_per_client,
        namespaces=settings.max_namespaces,
        idempotency_keys=settings.max_idempotency_keys,
        total_bytes=settings.max_total_bytes,
        log=Bounds(settings.max_log_messages, settings.max_log_bytes, settings.log_age),
        creates_per_second=settings.max_creates_per_second,
        publishes_per_second=settings.max_publishes_per_second,
        shortest_session=settings.min_session_timeout,
    )


def _server(settings: Settings, hub: Hub, drain: Drain, started_at: float, *, shared: bool) -> RpcServer:
    limits = RequestLimits(
        default_session_timeout=settings.default_session_timeout,
        min_session_timeout=settings.min_session_timeout,
        max_session_timeout=settings.max_session_timeout,
        max_message_bytes=settings.max_message_bytes,
        max_batch_items=settings.max_batch_items,
        max_wait=settings.max_wait,
    )
    return RpcServer(
        hub,
        Validator(Grammar(cometd=settings.cometd_channels), limits),
        drain,
        LinkTerms(
            settings.heartbeat_interval,
            settings.silence_limit,
            LinkLimits(clients=settings.max_clients_per_link),
            VERSION,
        ),
        Identity(VERSION, started_at),
        Transport(settings.listen, settings.max_request_bytes, settings.max_streams_per_connection, shared),
        WriteLimits(
            timeout=settings.write_timeout,
            total_bytes=settings.max_write_bytes,
            connection_bytes=settings.max_write_bytes_per_connection,
            stuck=settings.write_timeout * _STUCK,
        ),
    )
