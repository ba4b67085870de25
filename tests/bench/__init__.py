"""Benchmarks: never timed tests. Load and server are different processes; every delivery is checked."""
