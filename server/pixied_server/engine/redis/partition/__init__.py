"""One partition: the names of its keys, its script, and the calls of the script."""
