"""Addresses of stores."""

import pytest

from pixied_server.engine.redis.connection.address import Address, AddressInvalid, Endpoint, Kind

ADDRESSES = {
    "redis://localhost": (Kind.SINGLE, [Endpoint("localhost", 6379)], 0, ""),
    "redis://10.0.0.1:7000/3": (Kind.SINGLE, [Endpoint("10.0.0.1", 7000)], 3, ""),
    "redis://[::1]:7000": (Kind.SINGLE, [Endpoint("::1", 7000)], 0, ""),
    "unix:///run/redis.sock?db=2": (Kind.UNIX, [Endpoint("", path="/run/redis.sock")], 2, ""),
    "redis+unix:///run/redis.sock": (Kind.UNIX, [Endpoint("", path="/run/redis.sock")], 0, ""),
    "redis+sentinel://a,b:1/main/4": (Kind.SENTINEL, [Endpoint("a", 26379), Endpoint("b", 1)], 4, "main"),
    "redis+cluster://a:1,[::1]:2": (Kind.CLUSTER, [Endpoint("a", 1), Endpoint("::1", 2)], 0, ""),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_kinds(text: str) -> None:
    """An address says what kind of store it is, where it or who knows it is, and which database."""
    address = Address.parse(text)
    assert (address.kind, list(address.endpoints), address.db, address.master_name) == ADDRESSES[text]
    assert Address.parse(str(address)) == address


def test_secrets_are_read_and_not_shown() -> None:
    """User and password are decoded, and neither text of an address has them."""
    text = "rediss+sentinel://me:p%40ss%2Fword@a,b/main?sentinel_user=you&sentinel_password=hidden&ca=/ca.pem"
    address = Address.parse(text)
    assert (address.credentials.user, address.credentials.password) == ("me", "p@ss/word")
    assert (address.sentinel_credentials.user, address.sentinel_credentials.password) == ("you", "hidden")
    assert address.tls is not None
    assert address.tls.ca == "/ca.pem"
    for shown in (str(address), repr(address), f"{address}"):
        assert "p@ss" not in shown
        assert "p%40ss" not in shown
        assert "hidden" not in shown


def test_without_user() -> None:
    """A password alone is the default user's."""
    assert Address.parse("redis://:secret@host").credentials.password == "secret"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://host", "begins with"),
        ("localhost:6379", "begins with"),
        ("rediss+unix:///path", "no TLS"),
        ("redis://", "lacks a host"),
        ("redis://a,b", r"redis\+sentinel:// or redis\+cluster://"),
        ("redis://host:0", "1 to 65535"),
        ("redis://host:70000", "1 to 65535"),
        ("redis://user:hunter2/x@host", "%2F"),
        ("redis://:hunter2#x@host", "%23|number"),
        ("redis://user@host", "without a password"),
        ("redis://host/hunter2", "database"),
        ("redis://host/0?hunter2=1", "none"),
        ("redis://host/0?hunter2=", "none"),
        ("redis://host?ca=/ca.pem", "none"),
        ("rediss://host?hunter2=1", "ca, cert, key"),
        ("rediss://host?key=/key.pem", "no cert"),
        ("redis+sentinel://host", "master's name"),
        ("redis+cluster://host/1", "no databases but 0"),
        ("unix://relative/path", "three slashes"),
        ("redis://[::1", "URL|host"),
    ],
)
def test_what_is_wrong(text: str, says: str) -> None:
    """What is no address is refused with what would be right, and without repeating it."""
    with pytest.raises(AddressInvalid, match=says) as refusal:
        Address.parse(text)
    assert "hunter2" not in str(refusal.value)


def test_files_that_are_not_there() -> None:
    """TLS files that can't be read are named before anything is connected."""
    tls = Address.parse("rediss://host?ca=/nowhere/ca.pem").tls
    assert tls
    with pytest.raises(AddressInvalid, match="TLS files"):
        tls.context()
