"""Why a message is refused, in Bayeux's form `code:args:text`, and what its client is advised to do.

The codes are those of the specification's examples (Bayeux 1.0, section 4.3, `error`) as CometD and Faye use them:

| code | meaning |
| --- | --- |
| 300, 301 | another version; no connection type in common |
| 400 | not a message: the argument names the member that is wrong |
| 401, 402 | no client id; no such client (handshake again) |
| 403 | denied, or a channel that belongs to the protocol |
| 405 | not a channel's name |
| 409 | a later connect of the same client took this one's place |
| 413, 429 | too large; a limit is reached |
| 500, 503 | a defect here; pixied can't be reached |
"""

import re
from typing import Any, Final

import grpc

from pixied_client.errors import (
    BatchTooLarge,
    ChannelInvalid,
    ChannelIsPattern,
    ChannelReserved,
    ClientUnknown,
    DeadlineExceeded,
    Draining,
    EngineUnavailable,
    LimitSubscriptions,
    MessageTooLarge,
    PixiedError,
    Unavailable,
)

__all__ = ["Denied", "Malformed", "Refusal", "client_unknown", "inactive", "refusal_of"]

# The grammar of an error's arguments is narrow, and what a client sent stands in them.
_NOT_IN_ARGUMENTS: Final = re.compile(r"[^A-Za-z0-9\-_!~()$@/*. ]")
_LONGEST_ARGUMENT: Final = 100
_MOST_ARGUMENTS: Final = 10


class Refusal(Exception):
    """A message is refused.

    Args:
        code: three digits.
        text: why, for people.
        args: what it is about: a channel, a member; the first ten. No client id: it is a secret.
        advice: what the client shall do.

    Attributes:
        advice: as above.
    """

    def __init__(self, code: int, text: str, *args: str, advice: dict[str, Any] | None = None) -> None:
        self.code = code
        self.advice = advice or {}
        about = ",".join(_NOT_IN_ARGUMENTS.sub("_", arg[:_LONGEST_ARGUMENT]) for arg in args[:_MOST_ARGUMENTS])
        super().__init__(f"{code}:{about}:{text}")


class Denied(Refusal):
    """Raise this in a hook to refuse with words of your own.

    Args:
        text: why, for people.
        reconnect: for a handshake: `none` (the default: the client gives up), `handshake` or `retry`.
    """

    def __init__(self, text: str = "Denied", *args: str, reconnect: str = "none") -> None:
        super().__init__(403, text, *args, advice={"reconnect": reconnect})


class Malformed(Refusal):
    """A request is not what Bayeux allows, so that there is no message to answer."""

    def __init__(self, text: str) -> None:
        super().__init__(400, f"Bad request: {text}")


def client_unknown() -> Refusal:
    """No such session lives: its client has to begin anew. Its id is not in the text: it is a secret."""
    return Refusal(402, "Unknown client", advice={"reconnect": "handshake", "interval": 0})


def inactive() -> Refusal:
    """A client that only connects; its session has been ended."""
    return Refusal(403, "Inactive for too long", advice={"reconnect": "none"})


def refusal_of(error: PixiedError, about: str, *, retry_interval: int) -> Refusal:  # noqa: PLR0911 - a table
    """Say in Bayeux's words why pixied refused.

    Args:
        error: what pixied answered.
        about: the channel.
        retry_interval: after how many milliseconds a client comes back when pixied can't be reached.
    """
    match error:
        case ClientUnknown():
            return client_unknown()
        case ChannelInvalid() | ChannelIsPattern():
            return Refusal(405, "Invalid channel", about)
        case ChannelReserved():
            return Refusal(403, "Forbidden channel", about)
        case MessageTooLarge() | BatchTooLarge():
            return Refusal(413, "Too large", about)
        case LimitSubscriptions():
            return Refusal(429, "Too many subscriptions", about)
        case Unavailable() | DeadlineExceeded() | EngineUnavailable() | Draining():
            return Refusal(503, "Backend unavailable", advice={"reconnect": "retry", "interval": retry_interval})
    return _by_code(error, about, retry_interval)


def _by_code(error: PixiedError, about: str, retry_interval: int) -> Refusal:
    if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        interval = max(retry_interval, round(1_000 * (error.retry_after or 0)))
        return Refusal(429, "Limit reached", advice={"reconnect": "retry", "interval": interval})
    if error.code is grpc.StatusCode.INVALID_ARGUMENT:
        return Refusal(400, "Message refused", about)
    return Refusal(500, "Internal error")
