"""What the engine does for its callers."""
