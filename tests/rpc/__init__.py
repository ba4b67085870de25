"""Tests of the gRPC server, over loopback and through raw stubs: what any client in any language would see."""
