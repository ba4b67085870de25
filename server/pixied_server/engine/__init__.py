"""Where the state is: the contract of an engine (`abc`) and the engines.

An engine stores clients, subscriptions and logs, and announces what happens to a listener. It knows nothing of gRPC,
streams or front-ends.
"""
