"""One partition: where its keys are, its script, and the calls of it."""
