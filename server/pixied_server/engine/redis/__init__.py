"""The Redis engine: any number of processes over one Redis or Valkey."""

from pixied_server.engine.redis.address import Address, AddressInvalid
from pixied_server.engine.redis.engine import RedisEngine
from pixied_server.engine.redis.layout import Layout
from pixied_server.engine.redis.store import Severity, Store, StoreUnavailable

__all__ = [
    "Address",
    "AddressInvalid",
    "Layout",
    "RedisEngine",
    "Severity",
    "Store",
    "StoreUnavailable",
]
