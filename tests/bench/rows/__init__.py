"""The rows: each sets its two sides up and measures one of them at a time."""
