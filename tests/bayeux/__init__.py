"""The Bayeux front-end: by raw requests, by unmodified clients, and with front-ends that die."""
