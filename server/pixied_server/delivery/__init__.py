"""How messages get from an engine's logs to the owners of clients: links and single callers; and events to watchers.

The hub listens to the engine. It knows neither gRPC nor which engine runs.
"""
