"""Scripts that the tests run, each with its keys' order: the counter, and a key that never exists."""

from pixied_server.engine.redis.connection.store import Script

__all__ = ["COUNT", "FILL", "KEYS", "PUBLISH", "READ", "REFUSE", "keys_in"]

COUNT = Script("#!lua\nreturn redis.call('INCR', KEYS[1])")
READ = Script("#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])")
FILL = Script("#!lua\nreturn redis.call('APPEND', KEYS[1], ARGV[1])")
REFUSE = Script("#!lua\nreturn redis.error_reply('PIXIED NOT_YOURS another owns it')")
PUBLISH = Script("#!lua\nfor _, one in ipairs(ARGV) do redis.call('SPUBLISH', KEYS[1], one) end")

KEYS = (b"test{a}:meta", b"test{a}:absent")


def keys_in(slot: int) -> tuple[bytes, bytes]:
    """Keys in a slot."""
    from itertools import count  # noqa: PLC0415

    from redis.crc import key_slot  # noqa: PLC0415

    tag = next(b"%d" % number for number in count() if key_slot(b"%d" % number) == slot)
    return b"test{%s}:meta" % tag, b"test{%s}:absent" % tag
