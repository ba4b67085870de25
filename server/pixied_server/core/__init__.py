"""The rules of publish/subscribe, pure: no I/O, no await, no clock (`now` is an argument)."""
