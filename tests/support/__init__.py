"""What tests of a running server share: the server itself, a raw client, refusals, and histories of deliveries."""
