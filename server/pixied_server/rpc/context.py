"""The gRPC call that a handler serves."""

from typing import TypeAlias

import grpc

__all__ = ["Context"]

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
