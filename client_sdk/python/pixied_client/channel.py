"""How a channel to pixied is opened: addresses, keepalive, limits. The server's settings agree with these."""

import grpc

__all__ = ["DEFAULT_ADDRESS", "MAX_REQUEST_BYTES", "open_async_channel", "open_sync_channel"]

DEFAULT_ADDRESS = "127.0.0.1:50051"

# What pixied takes at most in one request by default. A larger one is refused here, for on a shared stream the
# transport would end the stream, and with it everyone else's operations.
MAX_REQUEST_BYTES = 16 * 1024 * 1024

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    # gRPC's own pauses between connection attempts grow to 2 minutes; a restarted pixied shall not wait that long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Each object of this package has its own connection: a shared one would share its flow control too.
    ("grpc.use_local_subchannel_pool", 1),
)


def open_async_channel(address: str) -> grpc.aio.Channel:
    """Open a channel for asyncio to `host:port` or `unix:///path`. Connects when it is first used."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def open_sync_channel(address: str) -> grpc.Channel:
    """Open a blocking channel to `host:port` or `unix:///path`. Connects when it is first used."""
    return grpc.insecure_channel(address, options=_OPTIONS)
