"""What messages have to have: each function raises a `Refusal` that names the member which is wrong."""

from collections.abc import Sequence
from typing import Any

from pixied_client.bayeux.message import BayeuxMessage
from pixied_client.bayeux.refusal import Refusal

__all__ = [
    "belongs_to",
    "check_handshake",
    "has_client_id",
    "is_service",
    "required_client_id",
    "required_text",
    "subscription_of",
]


def check_handshake(message: BayeuxMessage, connection_types: Sequence[str]) -> None:
    """Check that a handshake can lead to a session: its version, and one connection type in common."""
    version = required_text(message, "version")
    if version.split(".")[0] != "1":
        raise Refusal(300, "Version mismatch", version)
    offered = message.get("supportedConnectionTypes")
    if offered is None:
        raise Refusal(400, "Missing required parameter", "supportedConnectionTypes")
    if not isinstance(offered, list):
        raise Refusal(400, "It has to be an array", "supportedConnectionTypes")
    if not any(kind in connection_types for kind in offered):
        raise Refusal(301, "Connection types not supported", *map(str, offered))


def required_text(message: BayeuxMessage, name: str, advice: dict[str, Any] | None = None) -> str:
    """Read a member that has to be there and to be a string; the advice is that of a refusal."""
    value = message.get(name)
    if value is None:
        raise Refusal(400, "Missing required parameter", name, advice=advice)
    if not isinstance(value, str):
        raise Refusal(400, "It has to be a string", name, advice=advice)
    return value


def has_client_id(message: BayeuxMessage) -> bool:
    """Return whether a message names its client. Null and an empty text are as good as none, as with Faye."""
    return message.get("clientId") not in (None, "")


def required_client_id(message: BayeuxMessage, refusal: Refusal | None = None) -> str:
    """Read the client id; the refusal is for a message that has none."""
    advice = {"reconnect": "handshake", "interval": 0}
    if not has_client_id(message):
        raise refusal or Refusal(401, "No client id", advice=advice)
    return required_text(message, "clientId", advice)


def subscription_of(message: BayeuxMessage) -> list[str]:
    """Read the channels that a subscribe or unsubscribe names: one, or an array of them."""
    subscription = message.get("subscription")
    channels = subscription if isinstance(subscription, list) else [subscription]
    if not channels or subscription is None:
        raise Refusal(400, "Missing required parameter", "subscription")
    for channel in channels:
        if not isinstance(channel, str):
            raise Refusal(405, "Invalid channel", "subscription")
    return channels


def belongs_to(channel: str, root: str) -> bool:
    """Return whether a channel is this one or below it."""
    return channel == root or channel.startswith(f"{root}/")


def is_service(channel: str) -> bool:
    """Return whether a channel is the application's, so that no subscriber gets what is sent to it."""
    return belongs_to(channel, "/service")
