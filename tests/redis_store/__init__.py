"""The store under the Redis engine, on real servers."""
