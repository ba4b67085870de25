"""How messages get from an engine's logs to whoever holds the clients: links, single clients, watchers.

The hub listens to the engine. It knows neither gRPC nor which engine runs.
"""
