"""What an application decides and is notified of. Hooks are async functions; without one, everything is allowed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from pixied_client.bayeux.message import BayeuxMessage, Json
from pixied_client.bayeux.request import Request
from pixied_client.bayeux.session import Session
from pixied_client.values import Gap

__all__ = ["CanHandshake", "CanPublish", "CanSubscribe", "Handshake", "Hooks", "Listener", "Service"]


@dataclass
class Handshake:
    """A client that wants a session.

    Attributes:
        message: its `/meta/handshake`.
        request: the request it came with.
        attributes: put here what shall be remembered with the session: at most 60 texts, 8 KB in all.
        timeout: this client's own `Timing.timeout`, in seconds.
        interval: this client's own `Timing.interval`, in seconds.
    """

    message: BayeuxMessage
    request: Request
    timeout: float
    interval: float
    attributes: dict[str, str] = field(default_factory=dict)


CanHandshake: TypeAlias = Callable[[Handshake], Awaitable[bool]]
CanSubscribe: TypeAlias = Callable[[Session, str, Request], Awaitable[bool]]
"""Is asked for each channel or pattern."""
CanPublish: TypeAlias = Callable[[Session | None, BayeuxMessage, Request], Awaitable[bool]]
"""The session is None for a message without a client id."""
Service: TypeAlias = Callable[[Session, BayeuxMessage], Awaitable[Json]]
"""What it returns, unless it is None, is sent to the client on the same channel."""
Listener: TypeAlias = Callable[..., Awaitable[None]]


async def _anyone(handshake: Handshake) -> bool:
    del handshake
    return True


async def _anything(session: Session | None, what: object, request: Request) -> bool:
    del session, what, request
    return True


@dataclass
class Hooks:
    """The hooks of one application.

    Attributes:
        listeners: by the name of the event: see `Bayeux.on`.
        services: by channel or pattern.
    """

    can_handshake: CanHandshake = _anyone
    can_subscribe: CanSubscribe = _anything
    can_publish: CanPublish = _anything
    services: dict[str, Service] = field(default_factory=dict)
    listeners: dict[str, list[Listener]] = field(default_factory=dict)

    @property
    def judge_publishes(self) -> bool:
        """Whether a hook or a listener wants to see publishes."""
        return self.can_publish is not _anything or "publish" in self.listeners

    async def notify(self, event: str, *about: Session | BayeuxMessage | Request | str | Gap | None) -> None:
        """Call the listeners of an event, one after another."""
        for listener in self.listeners.get(event, ()):
            await listener(*about)

    def services_of(self, channel: str) -> list[Service]:
        """The services that serve a channel, the most special first."""
        names = [channel, f"{channel.rpartition('/')[0]}/*"]
        parts = channel.split("/")
        names += [f"{'/'.join(parts[:depth])}/**" for depth in range(len(parts) - 1, 0, -1)]
        return [self.services[name] for name in names if name in self.services]
