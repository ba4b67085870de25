"""The whole of it: real clients, real front-ends, one pixied."""
