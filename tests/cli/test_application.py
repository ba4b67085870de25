"""What holds for every command: addresses, settings, help, completion, exit codes."""

import socket
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.cli.stage import Server, lines, meanwhile, poll, run_command, running_server
from tests.support.redis_servers import single

from pixied_server.cli.exits import ExitCode


def test_version_is_printed() -> None:
    """`version` needs no server."""
    assert run_command("version").stdout.startswith(f"pixied {version('pixied')} (Python 3.")
    assert lines(run_command("version", "--json"))[0]["pixied"] == version("pixied")


def test_config_prints_every_setting_and_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Effective values, as a table and as JSON, with where each came from."""
    (tmp_path / "my.toml").write_text("max_clients = 5")
    monkeypatch.setenv("PIXIED_CONFIG", "my.toml")
    monkeypatch.setenv("PIXIED_GRACE", "1500ms")
    found = {line["setting"]: line for line in lines(run_command("config", "--no-insecure", "--json"))}
    assert found["max_clients"] == {
        "setting": "max_clients",
        "value": 5,
        "unit": None,
        "from": "file",
        "source": "my.toml",
    }
    assert (found["grace"]["value"], found["grace"]["unit"], found["grace"]["source"]) == (
        1.5,
        "seconds",
        "PIXIED_GRACE",
    )
    assert (found["insecure"]["value"], found["insecure"]["source"]) == (False, "--insecure")
    assert found["max_wait"]["from"] == "default"
    table = run_command("config", "--listen", "127.0.0.1:1", "--listen", "unix:///run/p").stdout
    assert "127.0.0.1:1,unix:///run/p  flag --listen" in table.replace("   ", "  ").replace("  ", "  ")


def test_nobody_at_the_address_is_one_clear_line() -> None:
    """A server that is not there is named, with what to do; the exit code is its own."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        for command in (("clients",), ("publish", "/a", "1"), ("subscribe", "/a"), ("watch",), ("call", "GetInfo")):
            result = run_command("--address", address, *command)
            assert result.exit_code == ExitCode.UNREACHABLE
            assert result.stderr == (
                f"pixied: nothing answers at {address}; start it with 'pixied serve' or name another with --address\n"
            )


def test_something_else_at_the_address_is_said() -> None:
    """Who listens and is no pixied is told apart from nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet(over: threading.Event) -> None:
            listening.settimeout(0.05)
            while not over.is_set():
                try:
                    accepted, _ = listening.accept()
                except TimeoutError:
                    continue
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                accepted.close()

        with meanwhile(greet):
            result = run_command("--address", f"127.0.0.1:{listening.getsockname()[1]}", "call", "GetInfo")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert result.stderr.count("\n") == 1


def test_the_address_may_stand_on_either_side_or_in_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--address before or after the command, or PIXIED_ADDRESS; the nearest wins."""
    nowhere = "unix:///nowhere"
    assert run_command("call", "GetInfo", "--address", server.address).exit_code == ExitCode.OK
    assert run_command("--address", nowhere, "call", "GetInfo", "--address", server.address).exit_code == ExitCode.OK
    monkeypatch.setenv("PIXIED_ADDRESS", server.address)
    assert run_command("call", "GetInfo").exit_code == ExitCode.OK
    assert run_command("--address", nowhere, "call", "GetInfo").exit_code == ExitCode.UNREACHABLE


def test_a_malformed_address_is_wrong_usage() -> None:
    """What can't be an address is said before anyone is called."""
    result = run_command("clients", "--address", "nonsense")
    assert result.exit_code == ExitCode.USAGE
    assert "'nonsense' is not an address" in result.stderr


def test_help_documents_the_exit_codes_and_every_setting() -> None:
    """--help is complete: exit codes, and one flag per setting."""
    text = run_command("--help").stdout
    for code in ExitCode:
        assert f"  {code.value}  " in text
    described = run_command("serve", "--help").stdout
    assert "--max-clients N" in described
    assert "--no-insecure" in described
    assert "--config FILE" in described


def test_shell_completion_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell completes commands, RPCs and kinds of events."""
    for typed, word in (
        ("pixied ca", "call"),
        ("pixied call Pub", "Publish"),
        ("pixied watch --kind client-c", "client-created"),
    ):
        monkeypatch.setenv("_PIXIED_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        assert run_command().stdout.split() == [word]


@pytest.mark.usefixtures("logs_restored")
def test_an_address_that_is_taken_is_refused(tmp_path: Path) -> None:
    """`serve` says which address it can't have."""
    address = f"unix://{tmp_path}/no/such/folder"[:100]
    result = run_command("serve", "--listen", address)
    assert result.exit_code == ExitCode.REFUSED
    assert address in result.stderr


def test_a_store_that_becomes_unsafe_while_in_use_is_told() -> None:
    """Redis may be told at any time to delete what it is to keep, or have its memory limited."""
    with single(aof=True) as redis, running_server("--engine", redis.url) as server:
        assert b"maxmemory" not in server.log.read_bytes()
        redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1000000000")
        poll(lambda: b"maxmemory-policy is allkeys-lru" in server.log.read_bytes())
        redis("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1000000")
        poll(lambda: b"its maxmemory is 1,000,000 bytes" in server.log.read_bytes())
        assert server.log.read_bytes().count(b"allkeys-lru") == 1
