"""Commands as processes of their own: signals, terminals, pipes, and a server that will not start."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import sys
import termios
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from tests.cli.stage import TIMEOUT, Server, Start, clean_environment, poll

from pixied_client import Message, sync
from pixied_server.cli.exits import ExitCode


async def launch(*arguments: str, stdin: int = PIPE, stdout: int = PIPE, stderr: int = PIPE) -> Process:
    """Starts a command as a process."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pixied_server", *arguments, stdin=stdin, stdout=stdout, stderr=stderr, limit=1 << 20,
        env=clean_environment() | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )  # fmt: skip


async def line_of(stream: asyncio.StreamReader | None) -> str:
    """The next line of a process's output."""
    assert stream is not None
    return (await asyncio.wait_for(stream.readline(), TIMEOUT)).decode()


async def ended(process: Process) -> tuple[int, str, str]:
    """The exit code and the rest of both outputs."""
    stdout, stderr = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert process.returncode is not None
    return process.returncode, (stdout or b"").decode(), (stderr or b"").decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_subscribe_cleanly(server: Server, backend: sync.Backend, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM destroy the client and exit with 0; what came before was shown at once, though piped."""
    process = await launch("subscribe", "/process/**", "--address", server.address)
    assert await line_of(process.stderr) == "subscribed to /process/**; Ctrl-C ends\n"
    await asyncio.to_thread(backend.publish, [Message("/process/1", "1")])
    assert await line_of(process.stdout) == "/process/1 1\n"
    process.send_signal(number)
    assert await ended(process) == (ExitCode.OK, "", "")
    assert backend.subscribers_of("/process/1").items == ()


async def test_a_signal_ends_watch_cleanly(server: Server, backend: sync.Backend) -> None:
    """Nothing that happens after `watching` is missed, and Ctrl-C exits with 0."""
    process = await launch("watch", "--json", "--kind", "published", "--address", server.address)
    assert await line_of(process.stderr) == "watching; Ctrl-C ends\n"
    await asyncio.to_thread(backend.publish, [Message("/process/watched", "1", id="seven")])
    event = json.loads(await line_of(process.stdout))
    assert (event["kind"], event["channel"], event["message_id"]) == ("published", "/process/watched", "seven")
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (ExitCode.OK, "", "")


@pytest.mark.parametrize("command", [("subscribe", "/a"), ("watch",)])
async def test_a_server_that_stops_ends_what_follows_it(start: Start, command: tuple[str, ...]) -> None:
    """The end of the server is one clear line and exit code 3."""
    with start() as server:
        process = await launch(*command, "--address", server.address)
        await line_of(process.stderr)
        assert await asyncio.to_thread(server.stop) == 0
        code, _, stderr = await ended(process)
    assert code == ExitCode.UNREACHABLE
    assert stderr.startswith("pixied: the server went away: ")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("flags", [(), ("--json",)])
async def test_subscribe_shows_gaps(start: Start, flags: tuple[str, ...]) -> None:
    """Messages that a stalled reader lost are announced, with their channel and how many they were."""
    with start("--max-log-messages", "3") as server, sync.Backend(server.address) as backend:
        process = await launch("subscribe", "/gap", "--address", server.address, *flags)
        await line_of(process.stderr)
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(poll, lambda: _is_stopped(process.pid))
        # Far more than the transport takes for a reader that does not read, so that the log has to be cut.
        payload = json.dumps("x" * 500_000)
        for _ in range(60):
            await asyncio.to_thread(backend.publish, [Message("/gap", payload)])
        process.send_signal(signal.SIGCONT)
        while "lost" not in (line := await line_of(process.stdout)):
            assert "xxx" in line
        if flags:
            gap = json.loads(line)["gap"]
            assert gap["channel"] == "/gap"
            assert gap["lost"] > 0
        else:
            assert re.fullmatch(r"gap: [0-9]+ messages of /gap were lost\n", line)
        process.kill()
        await ended(process)


async def test_watch_shows_what_it_missed(start: Start) -> None:
    """A stalled watcher is told how many events it missed, and goes on from there."""
    with start("--watch-buffer", "5") as server, sync.Backend(server.address) as backend:
        process = await launch("watch", "--kind", "published", "--address", server.address)
        await line_of(process.stderr)
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(poll, lambda: _is_stopped(process.pid))
        # Events as large as can be, and more of them than the transport takes for a reader that does not read.
        message = Message("/missed/" + "x" * 240, "1", id="y" * 255)
        for _ in range(20):
            await asyncio.to_thread(backend.publish, [message] * 1000)
        process.send_signal(signal.SIGCONT)
        while "reads too slowly" not in (line := await line_of(process.stdout)):
            assert " published " in line
        assert re.fullmatch(r"missed [0-9,]+ events: this watcher reads too slowly\n", line)
        assert " published " in await line_of(process.stdout)
        process.kill()
        await ended(process)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_ctrl_c_before_a_call_is_answered_is_130(server: Server, backend: sync.Backend) -> None:
    """A command that was not done when Ctrl-C came says so by its exit code, without a trace."""
    client_id = backend.create_client().client_id
    request = json.dumps({"client_id": client_id, "wait": "60s"})
    process = await launch("call", "DequeueFor", request, "--timeout", "90", "--address", server.address)
    await asyncio.to_thread(poll, lambda: backend.get_client(client_id).front_end)
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (ExitCode.INTERRUPTED, "", "")
    backend.destroy_client(client_id)


async def test_lines_are_published_as_they_come(server: Server, backend: sync.Backend) -> None:
    """`publish -` does not hold a slow source's lines back."""
    client_id = backend.create_client().client_id
    backend.subscribe(client_id, ["/slow"])
    process = await launch("publish", "-", "--address", server.address)
    assert process.stdin is not None
    for number in range(3):
        process.stdin.write(b'{"channel": "/slow", "data": %d}\n' % number)
        await process.stdin.drain()
        taken = await asyncio.to_thread(backend.dequeue_for, client_id, wait=TIMEOUT)
        assert [message.value for message in taken.messages] == [number]
    process.stdin.close()
    assert await ended(process) == (0, "published 3 messages of 3 lines; they matched 3 subscriptions\n", "")
    backend.destroy_client(client_id)


async def test_ctrl_c_in_the_middle_of_lines_tells_what_was_published(server: Server, backend: sync.Backend) -> None:
    """Whoever sends the rest has to know where it begins."""
    client_id = backend.create_client().client_id
    backend.subscribe(client_id, ["/middle"])
    process = await launch("publish", "-", "--address", server.address)
    assert process.stdin is not None
    process.stdin.write(b'{"channel": "/middle", "data": 1}\n' * 2)
    await process.stdin.drain()
    await asyncio.to_thread(poll, lambda: backend.get_client(client_id).pending == 2)
    # The answer is on its way when the server has the messages; a third line is read only after it has come.
    process.stdin.write(b'{"channel": "/middle", "data": 1}\n')
    await process.stdin.drain()
    await asyncio.to_thread(poll, lambda: backend.get_client(client_id).pending == 3)
    process.send_signal(signal.SIGINT)
    code, stdout, stderr = await ended(process)
    assert (code, stderr) == (ExitCode.INTERRUPTED, "")
    assert stdout.startswith(("published 2 messages of 2 lines", "published 3 messages of 3 lines"))
    backend.destroy_client(client_id)


async def test_a_stream_s_frames_are_sent_as_they_come(server: Server) -> None:
    """`call Attach -` speaks while its input stays open, and ends in order though its input never did."""
    process = await launch("call", "Attach", "-", "--json", "--address", server.address)
    assert process.stdin is not None
    process.stdin.write(b'{"commands": [{"hello": {"front_end": "by hand"}}]}\n')
    await process.stdin.drain()
    welcome = json.loads(await line_of(process.stdout))["events"][0]["welcome"]
    assert welcome["window"] == 64
    process.stdin.write(b'{"commands": [{"ack": {"number": "99"}}]}\n')
    await process.stdin.drain()
    assert process.stderr is not None
    refusal = await line_of(process.stderr)
    assert refusal.startswith("pixied: ")
    assert await asyncio.wait_for(process.wait(), TIMEOUT) == ExitCode.REFUSED


async def test_a_pipe_that_closes_ends_a_command_quietly(server: Server) -> None:
    """`pixied config | head -1` leaves no trace."""
    del server
    reading, writing = os.pipe()
    os.close(reading)
    process = await launch("config", stdout=writing)
    os.close(writing)
    code, _, stderr = await ended(process)
    assert code == ExitCode.REFUSED
    assert "Traceback" not in stderr


async def test_a_terminal_gets_a_progress_bar_and_colours(server: Server, tmp_path: Path) -> None:
    """On a terminal `publish -` draws a bar; tables have a bold head."""
    file = tmp_path / "lines"
    file.write_text('{"channel": "/terminal", "data": 1}\n' * 50)
    with file.open("rb") as source:
        text = await on_terminal("publish", "-", "--address", server.address, stdin=source.fileno())
    assert "publishing" in text
    assert "━" in text
    assert "50 messages" in text
    assert "published 50 messages of 50 lines" in text
    text = await on_terminal("channels", "--address", server.address)
    assert "\x1b[1mchannel" in text


async def on_terminal(*arguments: str, stdin: int = asyncio.subprocess.DEVNULL) -> str:
    """All that a command writes when its outputs are a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = await launch(*arguments, stdin=stdin, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = await asyncio.wait_for(asyncio.to_thread(_all_of, ours), TIMEOUT)
    assert await asyncio.wait_for(process.wait(), TIMEOUT) == ExitCode.OK
    return text


def _all_of(descriptor: int) -> str:
    chunks = []
    try:
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except OSError:
        # Linux says so when the last process has closed the terminal.
        pass
    finally:
        os.close(descriptor)
    return b"".join(chunks).decode()


async def test_a_port_in_use_is_one_clear_line() -> None:
    """Someone else on the port: the address is named, and the exit code says that it was refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await launch("serve", "--listen", address)
        code, _, stderr = await ended(process)
    assert code == ExitCode.REFUSED
    assert stderr.startswith("pixied: ")
    assert address in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["port", "socket"])
async def test_a_second_server_on_the_same_address_is_refused(kind: str, short_path: Path) -> None:
    """Two servers never share an address, and the first goes on: half of the calls would go astray."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}" if kind == "port" else f"unix://{short_path}/socket"
    first = await launch("serve", "--listen", address)
    await line_of(first.stderr)
    second = await launch("serve", "--listen", address)
    code, _, stderr = await ended(second)
    assert code == ExitCode.REFUSED
    assert address in stderr.splitlines()[-1]
    assert (await ended(await launch("call", "GetInfo", "--address", address)))[0] == ExitCode.OK
    first.send_signal(signal.SIGTERM)
    assert (await ended(first))[0] == ExitCode.OK


async def test_wrong_settings_stop_the_start_with_one_line() -> None:
    """Settings errors come before anything else, with exit code 2."""
    process = await launch("serve", "--max-clients", "lots")
    code, stdout, stderr = await ended(process)
    assert (code, stdout) == (ExitCode.USAGE, "")
    assert stderr == (
        "pixied: max_clients: 'lots' is not a whole number; right would be 1 to 1,000,000,000"
        " (from flag --max-clients)\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_server_cleanly(number: signal.Signals) -> None:
    """A planned stop exits with 0, and the log is JSON as standard error is no terminal."""
    process = await launch("serve", "--listen", "127.0.0.1:0")
    json.loads(await line_of(process.stderr))
    process.send_signal(number)
    code, stdout, stderr = await ended(process)
    assert (code, stdout) == (ExitCode.OK, "")
    for line in stderr.splitlines():
        json.loads(line)
