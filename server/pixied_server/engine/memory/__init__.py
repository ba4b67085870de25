"""The memory engine: everything in this process, gone with it."""

from pixied_server.engine.memory.engine import MemoryEngine

__all__ = ["MemoryEngine"]
