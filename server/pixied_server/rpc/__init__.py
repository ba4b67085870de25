"""The contract's services on grpc.aio: check, delegate, translate."""
