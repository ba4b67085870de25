"""What breaks in the field, broken on purpose: front-ends, connections, readers; the guarantees must hold."""
