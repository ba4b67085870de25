"""pixied: the backend of Bayeux servers as a gRPC service."""
