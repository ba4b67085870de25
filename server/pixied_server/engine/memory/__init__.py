"""The memory engine: everything in this process, gone with it."""

from pixied_server.engine.memory.engine import MemoryEngine, MemoryLimits

__all__ = ["MemoryEngine", "MemoryLimits"]
