"""The Redis engine: any number of processes over one Redis or Valkey."""

from pixied_server.engine.redis.engine import RedisEngine, RedisLimits

__all__ = ["RedisEngine", "RedisLimits"]
