"""Periodic work: heartbeats, the ends of sessions, repairs."""
