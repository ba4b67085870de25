"""Two pixied over one store: every promise holds when publisher, subscriber and owner are on different ones."""
