"""Two pixied over one store: every promise holds when publisher, subscriber and holder are on different ones."""
