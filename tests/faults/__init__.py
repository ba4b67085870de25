"""Faults that the Redis engine once had, each shown through the contract: real pixied processes, a real Redis, gRPC."""
