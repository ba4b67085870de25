"""The package as its users get it: built as a wheel, installed alone, imported, typed."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.sdk.servers import Server

SDK = Path(__file__).parents[2] / "client_sdk" / "python"

NEEDED = {"grpcio", "protobuf", "googleapis-common-protos"}
"""All that it may depend on."""

INSTALLING = 300.0
"""Seconds that pip may take, with a slow connection."""

pytestmark = pytest.mark.timeout(3 * INSTALLING)

PROGRAM = """
import asyncio
import sys

from pixied_client import Backend, FrontEnd, Message
from pixied_client.sync import Backend as BlockingBackend


async def main(address: str) -> None:
    async with Backend(address) as backend, FrontEnd(address, "installed") as front_end:
        client = await backend.create_client()
        await front_end.subscribe(client.client_id, "/installed")
        await front_end.publish_one(Message.of("/installed", "awaited"))
    with BlockingBackend(address) as blocking:
        blocking.publish_one(Message.of("/installed", "blocking"))
        print([message.value for message in blocking.dequeue_for(client.client_id).messages])


asyncio.run(main(sys.argv[1]))
"""

TYPED = """
from datetime import datetime

from pixied_client import Attachment, Backend, Client, Delivery, Detached, FrontEnd, Messages, Message, PublishResult
from pixied_client.sync import Backend as BlockingBackend


async def awaited(backend: Backend, front_end: FrontEnd) -> list[PublishResult]:
    client: Client = await backend.create_client(session_timeout=60, attributes={"user": "ann"})
    added: list[str] = await front_end.subscribe(client.client_id, ["/a", "/b"])
    expiry: datetime | None = await backend.ping_client(client.client_id)
    attachment: Attachment = await front_end.attach(client.client_id, explicit=True)
    async for item in attachment:
        match item:
            case Delivery():
                attachment.confirm(item.number)
            case Detached():
                print(item.reason.name, added, expiry)
    async with backend.deliver(client.client_id) as stream:
        async for received in stream:
            cursor: str = received.cursor
            print(cursor)
    return await front_end.publish([Message.of("/a", {"n": 1})])


def blocking(backend: BlockingBackend, client_id: str) -> Messages:
    return backend.dequeue_for(client_id, 10, wait=1.5, explicit=True)
"""

WRONG = """
from pixied_client import Backend


async def awaited(backend: Backend) -> None:
    number: int = await backend.generate_namespace()
    await backend.subscribe(channels="/a")
    await backend.publish("/a")
    backend.no_such_operation()
"""


def run(*command: str | Path) -> str:
    """Run a program that has to succeed, and give what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLING, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, SDK)
    (built,) = folder.glob("pixied_client-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which the wheel was installed, and nothing else was asked for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    installed = folder / "bin" / "python"
    run(installed, "-m", "pip", "install", "--quiet", wheel)
    return installed


def test_contents(wheel: Path) -> None:
    """The wheel holds the package, its marker of types, and apart from it the generated code; nothing else."""
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "pixied_client/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"pixied", "pixied_client"}
    assert {name for name in names if "_pb2" in name} == {name for name in names if name.startswith("pixied/")}


def test_few_dependencies(python: Path) -> None:
    """Installed alone it brings grpcio, protobuf, googleapis-common-protos and what those need, and all fits."""
    listed = json.loads(run(python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    program = "from importlib.metadata import requires; print('\\n'.join(requires('pixied-client')))"
    required = re.findall("^[a-z-]+(?!.*extra ==)", run(python, "-c", program), re.MULTILINE)
    assert set(required) == NEEDED
    assert {item["name"] for item in listed} - {"pip", "setuptools"} == {*NEEDED, "pixied-client", "typing_extensions"}
    run(python, "-m", "pip", "check", "--disable-pip-version-check")


def test_installed_alone_it_works(python: Path, server: Server, tmp_path: Path) -> None:
    """From nothing but its wheel, all of its faces work with a server."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(python, "-W", "error", program, server.address) == "['awaited', 'blocking']\n"


def strictly(python: Path, program: Path) -> subprocess.CompletedProcess[str]:
    """What mypy says of a user's program, with the types of the installed package alone."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", "--python-executable"]
    return subprocess.run(
        [*command, python, program], capture_output=True, text=True, timeout=INSTALLING, check=False, cwd=program.parent
    )


def test_typed(python: Path, tmp_path: Path) -> None:
    """A user's program passes mypy's strict mode without a stub for anything."""
    program = tmp_path / "typed.py"
    program.write_text(TYPED)
    done = strictly(python, program)
    assert done.stdout == "Success: no issues found in 1 source file\n"


def test_types_are_checked(python: Path, tmp_path: Path) -> None:
    """Wrong uses of it are found: its types are not Any."""
    program = tmp_path / "wrong.py"
    program.write_text(WRONG)
    lines = strictly(python, program).stdout.splitlines()
    assert {int(line.split(":")[1]) for line in lines if ": error:" in line} == {6, 7, 8, 9}
