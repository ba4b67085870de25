"""Receiving what partitions publish."""
