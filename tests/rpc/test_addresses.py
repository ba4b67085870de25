"""Addresses: what keeps a server from listening on one, and how processes come to share one."""

import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixied_server.rpc.addresses import AddressInUse, reserved, unusable

_LOCALHOST = "127.0.0.1:0"


@pytest.fixture(autouse=True)
def engine() -> None:
    """Nothing here needs one."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as name:
        yield Path(name)


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def _listening(address: str = _LOCALHOST, *, shared: bool = False) -> socket.socket:
    return socket.create_server(_pair(address), reuse_port=shared)


def _address_of(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"{host}:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_free_port_can_be_used(host: str) -> None:
    """The host is named by its number or by its name."""
    assert unusable(f"{host}:0") == ""


def test_an_ipv6_address_stands_in_brackets() -> None:
    """They are taken off, and are there again when a port was chosen."""
    if why := unusable("[::1]:0"):
        # This machine has no IPv6.
        assert why in {"cannot assign requested address", "address family not supported by protocol"}
    else:
        with reserved("[::1]:0") as address:
            assert re.fullmatch(r"\[::1\]:[1-9]\d*", address)


def test_a_port_that_someone_listens_on_can_not_be_used() -> None:
    """The reason is the system's."""
    with _listening() as server:
        assert unusable(_address_of(server)) == "address already in use"


def test_a_port_whose_server_has_just_gone_is_free() -> None:
    """Connections that it closed first linger for a minute, and are no obstacle."""
    with _listening() as server:
        address = _address_of(server)
        with socket.create_connection(server.getsockname()) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    assert unusable(address) == ""


def test_a_host_that_can_not_exist_can_not_be_used() -> None:
    """No part of a name has 64 characters."""
    assert unusable(f"{'x' * 64}:0") == "this is no name of a host"


def test_another_machines_address_can_not_be_used() -> None:
    """192.0.2.1 is reserved for documentation."""
    assert unusable("192.0.2.1:0") == "cannot assign requested address"


def test_a_new_socket_in_a_folder_can_be_used(folder: Path) -> None:
    """Nothing is left of the attempt."""
    assert unusable(f"unix://{folder}/socket") == ""
    assert not list(folder.iterdir())


def test_a_socket_that_someone_listens_on_can_not_be_used(folder: Path) -> None:
    """When nobody does any more, its file is no obstacle."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert unusable(f"unix://{path}") == "it is in use"
    assert path.is_socket()
    assert unusable(f"unix://{path}") == ""


def test_a_file_is_not_replaced_by_a_socket(folder: Path) -> None:
    """Whoever misspells the path does not lose a file."""
    (folder / "precious").touch()
    assert "no socket" in unusable(f"unix://{folder}/precious")


@pytest.mark.parametrize("parent", ["/nowhere", "/proc"])
def test_a_socket_needs_a_folder_to_be_in(parent: str) -> None:
    """One that exists, and in which files can be created: not even root can in /proc."""
    assert unusable(f"unix://{parent}/socket") in {"no such file or directory", "permission denied"}


def test_an_address_that_can_not_be_used_is_not_reserved() -> None:
    """The error names it, and says why."""
    with _listening() as server:
        text = f"can't listen on {_address_of(server)}: address already in use"
        with pytest.raises(AddressInUse, match=f"^{re.escape(text)}$"), reserved(_address_of(server)):
            pass


def test_a_reserved_address_is_for_those_who_share_it() -> None:
    """It has a port, which several may listen on that share it, and nobody else, until the context is left."""
    with reserved(_LOCALHOST) as address:
        assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", address)
        assert unusable(address) == "address already in use"
        with _listening(address, shared=True), _listening(address, shared=True):
            pass
    with _listening(address):
        pass


def test_who_reserves_an_address_gets_no_connections() -> None:
    """All of them go to those who listen."""
    with reserved(_LOCALHOST) as address, pytest.raises(ConnectionRefusedError):
        socket.create_connection(_pair(address))
