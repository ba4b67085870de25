"""How a channel to pixied is opened: addresses, keepalive, limits. The server's settings agree with these."""

import ipaddress
import re

import grpc

__all__ = ["DEFAULT_ADDRESS", "MAX_REQUEST_BYTES", "open_async_channel", "open_sync_channel", "target_of"]

DEFAULT_ADDRESS = "127.0.0.1:50051"

# What pixied takes at most in one request by default. A larger one is refused here, for on a shared stream the
# transport would end the stream, and with it everyone else's operations.
MAX_REQUEST_BYTES = 16_777_216

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    # The option `keepalive_timeout_ms` would not do: without this one a ping may stay unanswered for a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", True),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 33_554_432),
    # gRPC's own pauses between connection attempts grow to 2 minutes; a restarted pixied shall not wait that long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Each object of this package has its own connection: a shared one would share its flow control too.
    ("grpc.use_local_subchannel_pool", True),
)


def target_of(address: str) -> str:
    """Give gRPC's name for an address: `host:port`, `unix:///path`, or several of `ip:port` with commas between.

    Of several it takes the first that answers, and when that is lost, the first that answers then (`pick_first`). So it
    does with a name that stands for several addresses; lists it knows of IP addresses only.

    Raises:
        ValueError: several addresses have names in them, or are of both kinds.
    """
    if "," not in address or address.startswith(("ipv4:", "ipv6:")):
        return address
    several = [one.strip() for one in address.split(",")]
    kinds = {_ip_version(one) for one in several}
    if len(kinds) > 1 or None in kinds:
        raise ValueError(
            "several addresses are IP addresses of one kind with ports, as in 10.0.0.1:50051,10.0.0.2:50051, "
            f"not {address}; a name that stands for several addresses needs no list"
        )
    return f"ipv{kinds.pop()}:{','.join(several)}"


def _ip_version(address: str) -> int | None:
    """Return 4 or 6; None for what is no IP address with a port."""
    found = re.fullmatch(r"\[?(.+?)\]?:\d+", address)
    try:
        return ipaddress.ip_address(found[1]).version if found else None
    except ValueError:
        return None


def open_async_channel(address: str) -> grpc.aio.Channel:
    """Open a channel for asyncio to an address as `target_of` takes it. Connects when it is first used."""
    return grpc.aio.insecure_channel(target_of(address), options=_OPTIONS)


def open_sync_channel(address: str) -> grpc.Channel:
    """Open a blocking channel to an address as `target_of` takes it. Connects when it is first used."""
    return grpc.insecure_channel(target_of(address), options=_OPTIONS)
