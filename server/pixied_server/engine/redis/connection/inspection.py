"""What is wrong or risky about a server as a store, in words for those who run it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from pixied_server.engine.redis.connection.wire import Command, Refusal

__all__ = ["COMMANDS", "Finding", "Severity", "facts", "inspected"]

_OLDEST = (7, 0)
# What scripts and pub/sub connections use.
COMMANDS = tuple(
    """DEL EXISTS GET HDEL HEXISTS HGET HGETALL HINCRBY HKEYS HLEN HMGET HSCAN HSET HSETNX SADD SCARD SET
    SISMEMBER SPUBLISH SRANDMEMBER SREM TIME UNLINK XADD XLEN XRANGE XTRIM ZADD ZCARD
    ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREM ZSCORE""".split()  # noqa: SIM905 - easier to read than 40 strings
)
# Finds commands that are unknown, renamed or forbidden to this user; INFO does not list them.
_MISSING = """#!lua
local key, missing = table.remove(ARGV), {}
for _, name in ipairs(ARGV) do
  local known, may = pcall(redis.acl_check_cmd, name, key)
  if not (known and may) then missing[#missing + 1] = name end
end
return missing"""

Ask: TypeAlias = Callable[[Command], Awaitable[Any]]


class Severity(Enum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong (the server can't work as a store, or will lose messages) or risky.

    Attributes:
        text: which server, what is wrong with it, and what would be right.
    """

    severity: Severity
    text: str


def facts(info: bytes) -> Mapping[str, str]:
    """Return the fields of INFO."""
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


async def inspected(
    node: str, ask: Ask, key: bytes, *, has_key: bool, cluster: bool, replicas: int, room: int
) -> Sequence[Finding]:
    """Inspect one server.

    Args:
        node: its name.
        ask: sends it a command.
        key: one of ours.
        has_key: whether the key's slot is on this server: in a cluster only that server runs a script that names it.
        cluster: whether it is used as one of a cluster.
        replicas: how many replicas it should have.
        room: how many bytes of messages it may have to hold.

    Raises:
        StoreUnavailable: it does not answer.
    """
    found = list(await _about_commands(ask, key, has_key=has_key))
    info = await ask((b"INFO",))
    if isinstance(info, Refusal):
        found.append(_risk("its INFO can't be read, so its version, eviction and persistence were not checked: +info"))
    else:
        about = facts(info)
        found += (*_about_version(about), *_about_mode(about, cluster=cluster), *_about_memory(about, room))
        found += _about_replicas(about, replicas)
        found += await _about_persistence(ask, about)
    return [Finding(one.severity, f"{node}: {one.text}") for one in found]


def _wrong(text: str) -> Finding:
    return Finding(Severity.ERROR, text)


def _risk(text: str) -> Finding:
    return Finding(Severity.WARNING, text)


async def _about_commands(ask: Ask, key: bytes, *, has_key: bool) -> Sequence[Finding]:
    keys = (1, key) if has_key else (0,)
    missing = await ask((b"EVAL", _MISSING, *keys, *COMMANDS, key))
    if isinstance(missing, Refusal):
        needed = "EVAL and EVALSHA are needed, with all keys and channels of the prefix"
        return [_wrong(f"it does not run a script with our keys ({missing.text}); {needed}")]
    if missing:
        names = ", ".join(name.decode() for name in missing)
        return [_wrong(f"it does not know, or does not let us use: {names}. See the ACL in the documentation")]
    return []


def _about_version(about: Mapping[str, str]) -> Sequence[Finding]:
    # Valkey's redis_version is the version of Redis that it is compatible with.
    version = about.get("redis_version", "")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
        return [_wrong(f"its version is {version or 'unknown'}; Redis 7.0 or newer, or Valkey, is needed")]
    return []


def _about_mode(about: Mapping[str, str], *, cluster: bool) -> Sequence[Finding]:
    found = []
    if not cluster and about.get("cluster_enabled") == "1":
        found.append(_wrong("it is a server of a cluster: its address is redis+cluster://host:port,host:port"))
    if about.get("role", "master") != "master":
        found.append(_wrong("it is a replica, which takes no writes; name the master, or use redis+sentinel://"))
    return found


def _about_memory(about: Mapping[str, str], room: int) -> Sequence[Finding]:
    return [*_about_policy(about), *_about_room(int(about.get("maxmemory", 0)), room)]


def _about_room(memory: int, room: int) -> Sequence[Finding]:
    if not memory or memory >= room:
        return []
    return [
        _risk(
            f"its maxmemory is {memory:,} bytes and it may have to hold {room:,} of messages, by max_total_bytes: old "
            "ones will go before that, and new clients be refused; raise it, or lower max_total_bytes"
        )
    ]


def _about_policy(about: Mapping[str, str]) -> Sequence[Finding]:
    policy = about.get("maxmemory_policy")
    if policy is None:
        return [_risk("it does not tell its maxmemory-policy; it has to be noeviction")]
    if policy != "noeviction":
        return [
            _wrong(f"maxmemory-policy is {policy}: it would delete messages and clients silently; set it to noeviction")
        ]
    return []


def _about_replicas(about: Mapping[str, str], wanted: int) -> Sequence[Finding]:
    has = int(about.get("connected_slaves", 0))
    if has < wanted:
        return [_risk(f"it has {has} replicas and {wanted} are wanted: until they are there, changes are refused")]
    return []


async def _about_persistence(ask: Ask, about: Mapping[str, str]) -> Sequence[Finding]:
    if about.get("aof_enabled") != "1":
        return [
            _risk(
                "it keeps no append-only file: a restart loses everything, or since the last snapshot; appendonly yes"
            )
        ]
    fsync = await ask((b"CONFIG", b"GET", b"appendfsync"))
    if isinstance(fsync, Refusal):
        return [_risk("whether it syncs its append-only file could not be checked: it does not let us CONFIG GET")]
    if dict(zip(fsync[::2], fsync[1::2], strict=True)).get(b"appendfsync") == b"no":
        return [_risk("appendfsync is no: a crash of the machine loses up to half a minute; set everysec or always")]
    return []
