"""Addresses of stores, as an operator writes them.

| address | store |
|---|---|
| `redis://[user[:password]@]host[:port][/db]` | one server |
| `unix:///path[?db=0]`, `redis+unix://[user[:password]@]/path[?db=0]` | one server, by its unix socket |
| `redis+sentinel://[user[:password]@]host[:port],…/master-name[/db]` | the master that Sentinels name |
| `redis+cluster://[user[:password]@]host[:port],…` | a cluster, of which these servers are asked |

`rediss`, `rediss+sentinel` and `rediss+cluster` speak TLS. `?ca=` names a file of the authorities to trust instead of
the system's, `?cert=` and `?key=` the files of a certificate to show. User and password are the servers'; those of
Sentinels are `?sentinel_user=` and `?sentinel_password=`. What has a meaning in a URL is written in `%` notation.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Address", "AddressInvalid", "Credentials", "Endpoint", "Kind", "Tls"]

_PORT = 6379
_SENTINEL_PORT = 26379
_HIGHEST_PORT = 65_535


class AddressInvalid(ValueError):
    """The text is not the address of a store. The error does not repeat it: there may be a password in it."""


class Kind(Enum):
    """How the server that has a key is found."""

    SINGLE = "redis"
    UNIX = "redis+unix"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: a host and port, or the path of a unix socket."""

    host: str
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user and password to log in with; some servers need neither."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tls:
    """Authorities to trust and a certificate to show: paths of PEM files. "" is the system's authorities, or none."""

    ca: str
    certificate: str
    key: str = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises:
            AddressInvalid: a file can't be read or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ssl.SSLError) as error:
            raise AddressInvalid(f"the store's TLS files can't be used (ca, cert, key): {error}") from None
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """A store's address. Neither `str` nor `repr` shows a password.

    Attributes:
        endpoints: the server, or the Sentinels or servers of a cluster to ask.
        master_name: what Sentinels call the master.
        tls: None without TLS.
    """

    kind: Kind
    endpoints: tuple[Endpoint, ...]
    db: int
    master_name: str
    credentials: Credentials
    sentinel_credentials: Credentials
    tls: Tls | None

    def __str__(self) -> str:
        scheme = self.kind.value if self.tls is None else self.kind.value.replace("redis", "rediss", 1)
        where = ",".join(map(str, self.endpoints))
        match self.kind:
            case Kind.UNIX:
                return f"{scheme}://{where}?db={self.db}"
            case Kind.SENTINEL:
                return f"{scheme}://{where}/{self.master_name}/{self.db}"
            case Kind.CLUSTER:
                return f"{scheme}://{where}"
        return f"{scheme}://{where}/{self.db}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address.

        Raises:
            AddressInvalid: the text is not an address; the error says what would be right.
        """
        try:
            url = urlsplit(text)
        except ValueError:
            raise AddressInvalid("the store's address is not a URL, such as redis://127.0.0.1:6379/0") from None
        kind, secure = _scheme(url.scheme)
        login, _, hosts = url.netloc.rpartition("@")
        options = _options(url.query, kind, secure=secure)
        if "@" in url.path:
            raise AddressInvalid("the store's address has a / before its @; in a password it is written %2F")
        if url.fragment:
            raise AddressInvalid("the store's address has a # in it; in a password it is written %23")
        master_name, db = _place(kind, url.path, options)
        return cls(
            kind,
            (Endpoint("", path=_socket(hosts, url.path)),) if kind is Kind.UNIX else _endpoints(hosts, kind),
            db,
            master_name,
            credentials=_login(login),
            sentinel_credentials=Credentials(options.get("sentinel_user", ""), options.get("sentinel_password", "")),
            tls=Tls(options.get("ca", ""), options.get("cert", ""), options.get("key", "")) if secure else None,
        )


def _scheme(scheme: str) -> tuple[Kind, bool]:
    if scheme == "unix":
        return Kind.UNIX, False
    secure = scheme.startswith("rediss")
    try:
        kind = Kind(scheme.replace("rediss", "redis", 1))
    except ValueError:
        raise AddressInvalid(
            "the store's address begins with redis://, rediss://, redis+sentinel://, rediss+sentinel://, "
            "redis+cluster://, rediss+cluster:// or unix://"
        ) from None
    if secure and kind is Kind.UNIX:
        raise AddressInvalid("a unix socket has no TLS: write unix:///path")
    return kind, secure


def _options(query: str, kind: Kind, *, secure: bool) -> Mapping[str, str]:
    allowed = {
        *(("ca", "cert", "key") if secure else ()),
        *(("db",) if kind is Kind.UNIX else ()),
        *(("sentinel_user", "sentinel_password") if kind is Kind.SENTINEL else ()),
    }
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise AddressInvalid("what follows ? in the store's address is name=value&name=value") from None
    if unknown := options.keys() - allowed:
        may = (
            f"those of this kind of store are {', '.join(sorted(allowed))}"
            if allowed
            else "this kind of store has none"
        )
        raise AddressInvalid(f"the store's address has options that are not known, {len(unknown)} of them; {may}")
    if "key" in options and "cert" not in options:
        raise AddressInvalid("the store's address has a key but no cert that it belongs to")
    return options


def _login(login: str) -> Credentials:
    user, _, password = login.partition(":")
    if user and not password:
        raise AddressInvalid("the store's address has a user without a password; it is user:password@ or :password@")
    return Credentials(unquote(user), unquote(password))


def _endpoints(hosts: str, kind: Kind) -> tuple[Endpoint, ...]:
    default = _SENTINEL_PORT if kind is Kind.SENTINEL else _PORT
    endpoints = tuple(_endpoint(host, default) for host in hosts.split(","))
    if len(endpoints) > 1 and kind is Kind.SINGLE:
        raise AddressInvalid("redis:// names one server; for several write redis+sentinel:// or redis+cluster://")
    return endpoints


def _endpoint(text: str, default: int) -> Endpoint:
    bracketed, _, rest = text.removeprefix("[").partition("]") if text.startswith("[") else ("", "", text)
    host, colon, port = rest.partition(":")
    host = bracketed or host
    if not host:
        raise AddressInvalid("the store's address lacks a host, as in redis://127.0.0.1:6379/0")
    if colon and not (port.isdecimal() and 0 < int(port) <= _HIGHEST_PORT):
        raise AddressInvalid(
            "a port in the store's address is not a number from 1 to 65535; what a password has of / ? # @ : is "
            "written %2F %3F %23 %40 %3A"
        )
    return Endpoint(host, int(port) if colon else default)


def _socket(hosts: str, path: str) -> str:
    if hosts or not path.strip("/"):
        raise AddressInvalid("a unix socket is written with three slashes and its whole path: unix:///run/redis.sock")
    return unquote(path)


def _place(kind: Kind, path: str, options: Mapping[str, str]) -> tuple[str, int]:
    parts = [unquote(part) for part in path.split("/")[1:]]
    if kind is Kind.UNIX:
        return "", _db(options.get("db", ""))
    if kind is Kind.SENTINEL:
        if not parts or not parts[0]:
            raise AddressInvalid("redis+sentinel:// ends with the master's name: redis+sentinel://host:26379/mymaster")
        return parts[0], _db("/".join(parts[1:]))
    db = _db("/".join(parts))
    if db and kind is Kind.CLUSTER:
        raise AddressInvalid("a cluster has no databases but 0")
    return "", db


def _db(text: str) -> int:
    if text and not text.isdecimal():
        raise AddressInvalid("the database in the store's address is not a number")
    return int(text or 0)
