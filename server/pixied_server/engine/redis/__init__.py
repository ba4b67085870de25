"""The Redis engine: any number of processes over one Redis or Valkey."""

from pixied_server.engine.redis.connection.address import Address, AddressInvalid
from pixied_server.engine.redis.connection.store import Finding, Severity, Store, StoreUnavailable
from pixied_server.engine.redis.engine import RedisEngine
from pixied_server.engine.redis.partition.layout import Layout

__all__ = [
    "Address",
    "AddressInvalid",
    "Finding",
    "Layout",
    "RedisEngine",
    "Severity",
    "Store",
    "StoreUnavailable",
]
