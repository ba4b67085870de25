"""The operations as methods, twice: to be awaited, and blocking. What they do is in `operations`."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from pixied_client import operations
from pixied_client.operations import Call
from pixied_client.values import Channel, Client, Page

__all__ = ["AwaitedAdmin", "AwaitedOperations", "AwaitedPerformer", "BlockingAdmin", "BlockingOperations", "Performer"]

P = ParamSpec("P")
R = TypeVar("R")

_LARGE_PAGE = 1_000


class AwaitedPerformer(ABC):
    """Something that carries calls out, by asyncio."""

    @abstractmethod
    def perform(self, call: Call[R]) -> Coroutine[Any, Any, R]:
        """Carry out one call of `pixied_client.operations`."""


class Performer(ABC):
    """Something that carries calls out and blocks meanwhile."""

    @abstractmethod
    def perform(self, call: Call[R]) -> R:
        """Carry out one call of `pixied_client.operations`."""


def _awaited(describe: Callable[P, Call[R]]) -> Callable[Concatenate[AwaitedPerformer, P], Coroutine[Any, Any, R]]:
    @functools.wraps(describe)
    def method(self: AwaitedPerformer, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        return self.perform(describe(*args, **kwargs))

    return _shown_as_method(method, describe)


def _blocking(describe: Callable[P, Call[R]]) -> Callable[Concatenate[Performer, P], R]:
    @functools.wraps(describe)
    def method(self: Performer, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.perform(describe(*args, **kwargs))

    return _shown_as_method(method, describe)


M = TypeVar("M", bound=Callable[..., Any])


def _shown_as_method(method: M, describe: Callable[..., Any]) -> M:
    """Give `help()` and editors the arguments of the description, behind `self`."""
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    shown = inspect.signature(describe)
    vars(method)["__signature__"] = shown.replace(parameters=[this, *shown.parameters.values()])
    return method


async def _items(page_after: Callable[[str], Awaitable[Page[R]]]) -> AsyncIterator[R]:
    page = await page_after("")
    while True:
        for item in page.items:
            yield item
        if not page.next_page_token:
            return
        page = await page_after(page.next_page_token)


def _blocking_items(page_after: Callable[[str], Page[R]]) -> Iterator[R]:
    page = page_after("")
    while True:
        yield from page.items
        if not page.next_page_token:
            return
        page = page_after(page.next_page_token)


class AwaitedOperations(AwaitedPerformer):
    """The backend's operations, to be awaited."""

    generate_namespace = _awaited(operations.generate_namespace)
    release_namespace = _awaited(operations.release_namespace)
    create_client = _awaited(operations.create_client)
    get_client = _awaited(operations.get_client)
    ping_client = _awaited(operations.ping_client)
    ping_clients = _awaited(operations.ping_clients)
    destroy_client = _awaited(operations.destroy_client)
    subscribe = _awaited(operations.subscribe)
    unsubscribe = _awaited(operations.unsubscribe)
    subscribers_of = _awaited(operations.subscribers_of)
    subscribed_to = _awaited(operations.subscribed_to)
    client_subscribed = _awaited(operations.client_subscribed)
    queue_for = _awaited(operations.queue_for)
    dequeue_for = _awaited(operations.dequeue_for)
    publish = _awaited(operations.publish)
    publish_one = _awaited(operations.publish_one)

    def all_subscribers_of(self, channel_pattern: str) -> AsyncIterator[str]:
        """Iterate over the ids of all clients that `subscribers_of` lists, page by page."""
        return _items(lambda token: self.subscribers_of(channel_pattern, _LARGE_PAGE, token))


class BlockingOperations(Performer):
    """The backend's operations, blocking."""

    generate_namespace = _blocking(operations.generate_namespace)
    release_namespace = _blocking(operations.release_namespace)
    create_client = _blocking(operations.create_client)
    get_client = _blocking(operations.get_client)
    ping_client = _blocking(operations.ping_client)
    ping_clients = _blocking(operations.ping_clients)
    destroy_client = _blocking(operations.destroy_client)
    subscribe = _blocking(operations.subscribe)
    unsubscribe = _blocking(operations.unsubscribe)
    subscribers_of = _blocking(operations.subscribers_of)
    subscribed_to = _blocking(operations.subscribed_to)
    client_subscribed = _blocking(operations.client_subscribed)
    queue_for = _blocking(operations.queue_for)
    dequeue_for = _blocking(operations.dequeue_for)
    publish = _blocking(operations.publish)
    publish_one = _blocking(operations.publish_one)

    def all_subscribers_of(self, channel_pattern: str) -> Iterator[str]:
        """Iterate over the ids of all clients that `subscribers_of` lists, page by page."""
        return _blocking_items(lambda token: self.subscribers_of(channel_pattern, _LARGE_PAGE, token))


class AwaitedAdmin(AwaitedPerformer):
    """The operator's operations, to be awaited."""

    get_info = _awaited(operations.get_info)
    list_clients = _awaited(operations.list_clients)
    list_channels = _awaited(operations.list_channels)
    drain = _awaited(operations.drain)

    def all_clients(self, channel_pattern: str = "", front_end: str = "") -> AsyncIterator[Client]:
        """Iterate over all clients that `list_clients` lists, page by page."""
        return _items(lambda token: self.list_clients(channel_pattern, front_end, _LARGE_PAGE, token))

    def all_channels(self, channel_pattern: str = "") -> AsyncIterator[Channel]:
        """Iterate over all channels that `list_channels` lists, page by page."""
        return _items(lambda token: self.list_channels(channel_pattern, _LARGE_PAGE, token))


class BlockingAdmin(Performer):
    """The operator's operations, blocking."""

    get_info = _blocking(operations.get_info)
    list_clients = _blocking(operations.list_clients)
    list_channels = _blocking(operations.list_channels)
    drain = _blocking(operations.drain)

    def all_clients(self, channel_pattern: str = "", front_end: str = "") -> Iterator[Client]:
        """Iterate over all clients that `list_clients` lists, page by page."""
        return _blocking_items(lambda token: self.list_clients(channel_pattern, front_end, _LARGE_PAGE, token))

    def all_channels(self, channel_pattern: str = "") -> Iterator[Channel]:
        """Iterate over all channels that `list_channels` lists, page by page."""
        return _blocking_items(lambda token: self.list_channels(channel_pattern, _LARGE_PAGE, token))
