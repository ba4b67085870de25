"""The Python SDK: its own rules, and real servers."""
