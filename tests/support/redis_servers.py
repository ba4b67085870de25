"""Real Redis servers for tests: single ones, a Sentinel trio, a cluster, each on free ports and in folders of its own.

All calls block until what they say is so, which takes milliseconds for a single server and a few seconds for the
groups; a test whose event loop has to run on meanwhile calls them with `asyncio.to_thread`.

With REDIS_USER=documented in the environment pixied gets addresses with a user who has the rights that docs/redis.md
gives, and no more: then whatever else it does with Redis fails.

With REDIS_SLOWLOG=FILE each server adds the longest call of a script that it has had to that file, in microseconds.
"""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import redis

__all__ = [
    "Certificates",
    "Cluster",
    "Server",
    "Trio",
    "certificates",
    "cluster",
    "documented_rights",
    "eventually",
    "login",
    "sentinel_trio",
    "single",
]

TIMEOUT = 120.0
"""Seconds after which a server or a group that is not ready has failed."""

# Seconds that Sentinels may take for a failover before they are asked again.
_FAILOVER = 15.0

_SECRET = "only-for-tests"  # noqa: S105
_USER = "pixied"
_MASTER_NAME = "pixied"
_DOCUMENTATION = Path(__file__).parents[2] / "docs/redis.md"
_ALL_SLOTS = 16_384
_ATTEMPTS = 5

# Of a password's use there is one test; all others are of servers that let everybody in.
_CONFIG = {
    "bind": "127.0.0.1",
    "protected-mode": "no",
    "daemonize": "no",
    "save": '""',
    "enable-debug-command": "yes",
    "loglevel": "notice",
    "slowlog-log-slower-than": "1000",
}


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, and a key that it vouches for, of 127.0.0.1 and of a client alike."""

    ca: Path
    certificate: Path
    key: Path


class Server:
    """One Redis server process.

    Args:
        folder: where it keeps its files; they survive a restart.
        config: lines of its configuration, without those that are the same for all.
        tls: what it shows and trusts where it speaks TLS.
        sentinel: whether it is a Sentinel.
        own_clock: whether it has a wall clock of its own, which can be set.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, str],
        *,
        tls: Certificates | None = None,
        sentinel: bool = False,
        own_clock: bool = False,
    ) -> None:
        self.folder = folder
        self.port = 0
        self.bus_port = 0
        self.tls = tls
        self._config = config
        self._sentinel = sentinel
        self._own_clock = own_clock
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: redis.Redis | None = None

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address as pixied takes it."""
        return f"redis://{login()}{self.address}/0"

    @property
    def socket(self) -> Path:
        """Its unix socket."""
        return self.folder / "socket"

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command as an administrator, over a connection that nobody else uses."""
        assert self._admin
        return self._admin.execute_command(*command)  # type: ignore[no-untyped-call]

    def info(self, section: str) -> dict[str, Any]:
        """A section of INFO."""
        return cast("dict[str, Any]", self("INFO", section))

    def start(self) -> None:
        """Start it, on the port that it had before or on a free one, and wait until it answers."""
        for _ in range(_ATTEMPTS):
            port, bus_port = self.port or _free_port(), self.bus_port or _free_port()
            if self._started_on(port, bus_port):
                self.port, self.bus_port = port, bus_port
                return
            # Between the choice of a port and its use another process can be quicker.
            assert not self.port, self._failure()
        raise AssertionError(self._failure())

    def kill(self) -> None:
        """SIGKILL."""
        if file := os.environ.get("REDIS_SLOWLOG"):
            self._note_slowest(Path(file))
        if self._process:
            self._process.kill()
            self._process.wait()
        if self._admin:
            self._admin.close()

    def restart(self) -> None:
        """SIGKILL, and start again with the same port and files."""
        self.kill()
        self.start()

    def set_clock(self, seconds: int) -> None:
        """Set its wall clock so many seconds ahead of the machine's; elapsed time is not changed by that."""
        # In place: it looks there each time.
        with (self.folder / "clock").open("r+b" if (self.folder / "clock").exists() else "wb") as clock:
            clock.write(seconds.to_bytes(8, sys.byteorder, signed=True))

    def freeze(self) -> None:
        """SIGSTOP: connections live, and nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def _started_on(self, port: int, bus_port: int) -> bool:
        where = {"tls-port": port, "port": 0} if self.tls else {"port": port}
        if "cluster-enabled" in self._config:
            where["cluster-port"] = bus_port
        config = self._config | {name: str(value) for name, value in where.items()}
        path = self.folder / "redis.conf"
        # A Sentinel writes what it learns into its configuration.
        if not (self._sentinel and path.exists()):
            path.write_text("".join(f"{name} {value}\n" for name, value in config.items()))
        with (self.folder / "log").open("ab") as log:
            command = [_redis_server(), str(path), *(["--sentinel"] if self._sentinel else [])]
            environment = dict(os.environ)
            if self._own_clock:
                self.set_clock(0)
                environment |= {"OWN_CLOCK": str(self.folder / "clock"), "LD_PRELOAD": _own_clock()}
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        self._admin = self._administrator(port)
        return self._answers()

    def _note_slowest(self, file: Path) -> None:
        """Add its longest call of a script to a file, and that call's first operation; one that is hung has none."""
        asking = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1.0)
        with contextlib.closing(asking), contextlib.suppress(redis.RedisError):
            entries: Any = asking.execute_command("SLOWLOG", "GET", -1)  # type: ignore[no-untyped-call]
            calls = [(one[2], one[3][9]) for one in entries if one[3][0] == b"EVALSHA" and len(one[3]) > 9]
            if calls:
                took, operation = max(calls)
                with file.open("a") as lines:
                    lines.write(f"{took} {operation.decode()}\n")

    def _administrator(self, port: int) -> redis.Redis:
        options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "socket_timeout": TIMEOUT, "protocol": 2}
        if self.tls:
            options |= {"ssl": True, "ssl_ca_certs": str(self.tls.ca)}
            options |= {"ssl_certfile": str(self.tls.certificate), "ssl_keyfile": str(self.tls.key)}
        if "default off" in self._config.get("user", ""):
            options |= {"username": "admin", "password": _SECRET}
        return redis.Redis(**options, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0))

    def _answers(self) -> bool:
        assert self._process
        deadline = time.monotonic() + TIMEOUT
        while self._process.poll() is None and time.monotonic() < deadline:
            # Refused while it starts, LOADING while it reads its files.
            with contextlib.suppress(redis.ConnectionError):
                return bool(self("PING"))
            time.sleep(0.01)
        return False

    def _failure(self) -> str:
        self.kill()
        return f"redis-server does not start:\n{(self.folder / 'log').read_text()[-2000:]}"


class Trio:
    """A master with two replicas, and three Sentinels that watch them."""

    def __init__(self, servers: Sequence[Server], sentinels: Sequence[Server]) -> None:
        self.servers = servers
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """Its address as pixied takes it."""
        return f"redis+sentinel://{login()}{','.join(one.address for one in self.sentinels)}/{_MASTER_NAME}"

    @property
    def master(self) -> Server:
        """The server that the first Sentinel calls the master."""
        _, port = self.sentinels[0]("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _MASTER_NAME)
        return next(one for one in self.servers if one.port == int(port))

    def fail_over(self) -> None:
        """Have the Sentinels make another server the master, as for maintenance, and wait until they did."""
        self.settle()
        before = self.master
        asked = -_FAILOVER

        def asked_for() -> bool:
            # Sentinels give a failover up, and do not try again, when it takes them too long.
            nonlocal asked
            if time.monotonic() - asked > _FAILOVER and _facts_of(self.sentinels[0])[b"flags"] == b"master":
                asked = time.monotonic()
                with contextlib.suppress(redis.ResponseError):  # one of them has just begun another
                    self.sentinels[0]("SENTINEL", "FAILOVER", _MASTER_NAME)
            return self._has_other_master(before)

        eventually(asked_for, "another master")

    def settle(self) -> None:
        """Wait until all servers replicate one master, and no Sentinel is busy with a failover."""

        def settled() -> bool:
            master = self.master
            master("SET", "settled", 1)
            online = master("WAIT", 2, 500) == 2
            return online and all(_facts_of(one)[b"flags"] == b"master" for one in self.sentinels)

        eventually(settled, "rest after a failover")

    def await_failover(self, before: Server) -> None:
        """Wait until another server than this one is the master of all Sentinels, and knows it."""
        eventually(lambda: self._has_other_master(before), "another master")

    def _has_other_master(self, before: Server) -> bool:
        masters = {tuple(one("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _MASTER_NAME)) for one in self.sentinels}
        if len(masters) > 1 or self.master is before:
            return False
        return bool(self.master.info("replication")["role"] == "master")


class Cluster:
    """Three masters with a replica each."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers

    @property
    def url(self) -> str:
        """Its address as pixied takes it."""
        return f"redis+cluster://{login()}{','.join(one.address for one in self.servers)}"

    @property
    def masters(self) -> list[Server]:
        """The masters that are alive, by the slots that they serve."""
        return [self._at(host_port) for _, _, host_port in self._ranges()]

    def serving(self, slot: int) -> Server:
        """The master that serves a slot."""
        return next(self._at(host_port) for first, last, host_port in self._ranges() if first <= slot <= last)

    def replica_of(self, master: Server) -> Server:
        """A replica of a master; a server that has lost its place takes a moment to become one."""

        def replicas() -> list[Server]:
            return [one for one in self._answering() if one.info("replication").get("master_port") == master.port]

        eventually(replicas, "replica")
        return replicas()[0]

    def fail_over(self, master: Server) -> Server:
        """Have a master's replica take its place, in agreement with it; give the new master."""
        replica = self.replica_of(master)
        replica("CLUSTER", "FAILOVER")
        self.await_failover(replica)
        return replica

    def await_failover(self, replica: Server) -> None:
        """Wait until a replica is a master and the cluster serves all slots."""
        eventually(lambda: replica.info("replication")["role"] == "master", "the replica as master")
        eventually(self.is_whole, "a cluster that serves all slots")

    def is_whole(self) -> bool:
        """Whether all servers that answer see all slots served."""
        return all("cluster_state:ok" in one("CLUSTER", "INFO").decode() for one in self._answering())

    def begin_to_move(self, slot: int, target: Server) -> None:
        """Announce that a slot moves, and leave its keys where they are."""
        source = self.serving(slot)
        target("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))

    def move(self, slot: int, target: Server) -> None:
        """Move a slot with all its keys to another master, begun or not."""
        source = self.serving(slot)
        self.begin_to_move(slot, target)
        while keys := source("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for one in (target, source, *self.masters):
            one("CLUSTER", "SETSLOT", slot, "NODE", _id(target))

    def uncover(self) -> None:
        """Take the slots of one master away, for good; the other slots are served on."""
        *_, (first, last, _) = self._ranges()
        for one in self.servers:
            one("CONFIG", "SET", "cluster-require-full-coverage", "no")
            one("CLUSTER", "DELSLOTSRANGE", first, last)

    def _ranges(self) -> Iterator[tuple[int, int, int]]:
        whole = next(one for one in self._answering() if b"cluster_state:ok" in one("CLUSTER", "INFO"))
        for first, last, master, *_ in whole("CLUSTER", "SLOTS"):
            yield first, last, master[1]

    def _at(self, port: int) -> Server:
        return next(one for one in self.servers if one.port == port)

    def _answering(self) -> Iterator[Server]:
        for one in self.servers:
            with contextlib.suppress(redis.ConnectionError):
                one("PING")
                yield one


def login() -> str:
    """What stands before the host in pixied's address of a server."""
    return f"{_USER}:{_SECRET}@" if _limited() else ""


def documented_rights(prefix: str) -> list[str]:
    """The rights that docs/redis.md gives to a user of Redis's ACL, with a prefix of keys and channels."""
    text = _DOCUMENTATION.read_text()
    begin = text.index("ACL SETUSER pixied on >PASSWORD ")
    words = text[begin : text.index("```", begin)].split()[5:]
    return [word.replace("PREFIX", prefix) for word in words]


@cache
def _limited() -> bool:
    name = os.environ.get("REDIS_USER", "")
    assert name in {"", "documented"}, f"REDIS_USER is {name}; it can be `documented`"
    return bool(name)


def eventually(true: Callable[[], object], what: str) -> None:
    """Wait for something that servers do by themselves."""
    deadline = time.monotonic() + TIMEOUT
    while not _holds(true):
        assert time.monotonic() < deadline, f"no {what} within {TIMEOUT:g} s"
        time.sleep(0.02)


@contextmanager
def single(
    *, aof: bool = False, tls: Certificates | None = None, user: str = "", own_clock: bool = False, **config: str | int
) -> Iterator[Server]:
    """One server.

    Args:
        aof: whether it has written to disk what it has answered.
        tls: for a server that speaks TLS only.
        own_clock: whether it has a wall clock of its own, which can be set.
        user: an ACL rule, as in `pixied on >secret ~* &* +@all`, in a server that lets nobody in without a password.
        config: more of its configuration, such as `maxmemory_policy`.
    """
    lines = {name.replace("_", "-"): str(value) for name, value in config.items()}
    if aof:
        lines |= {"appendonly": "yes", "appendfsync": "always"}
    if tls:
        lines |= {"tls-cert-file": str(tls.certificate), "tls-key-file": str(tls.key), "tls-ca-cert-file": str(tls.ca)}
    if user:
        lines |= {"user": f"default off\nuser admin on >{_SECRET} ~* &* +@all\nuser {user}"}
    with ExitStack() as stack:
        yield _started(stack, lines, tls=tls, own_clock=own_clock)


@contextmanager
def sentinel_trio() -> Iterator[Trio]:
    """A master, two replicas, three Sentinels, all in agreement."""
    with ExitStack() as stack:
        master = _started(stack, {})
        replica = {"replicaof": f"127.0.0.1 {master.port}", "repl-diskless-sync-delay": "0"}
        servers = [master, _started(stack, replica), _started(stack, replica)]
        for one in servers[1:]:
            _await_replication(one)
        trio = Trio(servers, [_sentinel(stack, master) for _ in range(3)])
        eventually(lambda: all(_knows_all(one) for one in trio.sentinels), "agreement of the Sentinels")
        yield trio


@contextmanager
def cluster(*, own_clock: bool = False) -> Iterator[Cluster]:
    """A cluster that serves all slots, each master's replica up to date.

    Args:
        own_clock: whether each server has a wall clock of its own, which can be set.
    """
    config = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": "1500",
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": "0",
    }
    with ExitStack() as stack:
        servers = [_started(stack, config, own_clock=own_clock) for _ in range(6)]
        _share_slots(servers[:3])
        for one in servers[1:]:
            one("CLUSTER", "MEET", "127.0.0.1", servers[0].port, servers[0].bus_port)
        eventually(lambda: all(len(_peers(one)) == len(servers) for one in servers), "cluster of six")
        for master, replica in zip(servers[:3], servers[3:], strict=True):
            replica("CLUSTER", "REPLICATE", _id(master))
        formed = Cluster(servers)
        eventually(formed.is_whole, "cluster that serves all slots")
        for replica in servers[3:]:
            _await_replication(replica)
        eventually(lambda: all(_lists_replicas(one) for one in servers), "agreement on the replicas")
        yield formed


@contextmanager
def certificates() -> Iterator[Certificates]:
    """An authority and a certificate of its own, made for this use."""
    assert shutil.which("openssl"), "openssl is needed to make certificates: apt-get install openssl"
    with tempfile.TemporaryDirectory(prefix="pixied-") as name:
        folder = Path(name)
        _openssl(folder, "ca", "-addext", "keyUsage=critical,keyCertSign")
        names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
        _openssl(folder, "server", *signed, *names)
        yield Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")


def _openssl(folder: Path, name: str, *more: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
    command = ["openssl", "req", "-x509", *key, "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN=pixied {name}"]
    made = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def _started(
    stack: ExitStack, config: dict[str, str], *, tls: Certificates | None = None, own_clock: bool = False
) -> Server:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pixied-")))
    if _limited() and "user" not in config:
        # Each test has a prefix of its own: any of them, with a tag behind it.
        config = config | {"user": " ".join([_USER, "on", f">{_SECRET}", *documented_rights("*{*}:")])}
    config = _CONFIG | {"dir": str(folder), "unixsocket": str(folder / "socket")} | config
    server = Server(folder, config, tls=tls, own_clock=own_clock)
    stack.callback(server.kill)
    server.start()
    return server


def _sentinel(stack: ExitStack, master: Server) -> Server:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pixied-")))
    watched = f"monitor {_MASTER_NAME} 127.0.0.1 {master.port} 2"
    terms = {"down-after-milliseconds": 1000, "failover-timeout": 3000, "parallel-syncs": 2}
    lines = "\nsentinel ".join([watched, *(f"{name} {_MASTER_NAME} {value}" for name, value in terms.items())])
    config = {"bind": "127.0.0.1", "protected-mode": "no", "dir": str(folder), "sentinel": lines}
    server = Server(folder, config, sentinel=True)
    stack.callback(server.kill)
    server.start()
    # They would else need 10 s to find each other, and as long to see a change.
    server("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 200, "PING-PERIOD", 200, "ASK-PERIOD", 200)
    return server


def _await_replication(replica: Server) -> None:
    eventually(lambda: replica.info("replication")["master_link_status"] == "up", "replication")


def _knows_all(sentinel: Server) -> bool:
    known = _facts_of(sentinel)
    return bool(known[b"num-slaves"] == b"2" and known[b"num-other-sentinels"] == b"2")


def _facts_of(sentinel: Server) -> dict[bytes, bytes]:
    told = sentinel("SENTINEL", "MASTER", _MASTER_NAME)
    return dict(zip(told[::2], told[1::2], strict=True))


def _share_slots(masters: Sequence[Server]) -> None:
    ends = [_ALL_SLOTS * part // len(masters) for part in range(len(masters) + 1)]
    for epoch, (one, first, end) in enumerate(zip(masters, ends, ends[1:], strict=False), 1):
        one("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        one("CLUSTER", "SET-CONFIG-EPOCH", epoch)


def _peers(server: Server) -> list[str]:
    return [line for line in _nodes(server) if "handshake" not in line and "noaddr" not in line]


def _lists_replicas(server: Server) -> bool:
    return sum(" slave " in f" {line.replace(',', ' ')}" for line in _peers(server)) == 3


def _id(server: Server) -> str:
    return _myself(server).split()[0]


def _myself(server: Server) -> str:
    return next(line for line in _nodes(server) if "myself" in line)


def _nodes(server: Server) -> list[str]:
    text: str = server("CLUSTER", "NODES").decode()
    return text.splitlines()


def _holds(true: Callable[[], object]) -> bool:
    try:
        return bool(true())
    except redis.RedisError:
        return False


@cache
def _redis_server() -> str:
    name = os.environ.get("REDIS_SERVER", "redis-server")
    path = shutil.which(name)
    assert path, f"{name} is needed: apt-get install redis-server, or name another one with REDIS_SERVER"
    return path


@cache
def _own_clock() -> str:
    """The library that gives a server a clock of its own, compiled for this process."""
    assert shutil.which("cc"), "a C compiler is needed to set a server's clock: apt-get install gcc libc6-dev"
    folder = tempfile.mkdtemp(prefix="pixied-")
    atexit.register(shutil.rmtree, folder)
    library = f"{folder}/own_clock.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", library, str(Path(__file__).with_name("own_clock.c"))]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return library


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
