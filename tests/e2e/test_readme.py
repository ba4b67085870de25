"""What the README tells newcomers to type works."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.e2e.stage import FAYE
from tests.support.caller import within
from tests.support.site import serving

from pixied_server.settings.reference import with_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ADDRESS = "127.0.0.1:50051"


def snippet(name: str, address: str) -> str:
    """The README's snippet of this name, for a server at another address."""
    found = re.search(rf"<!-- snippet: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"the README has no snippet {name}"
    assert ADDRESS in found[1], "the snippet names no server"
    return found[1].replace(ADDRESS, address)


async def run(*command: str | Path, code: str, folder: Path) -> str:
    """Run a program that reads its code from standard input; gives what it printed."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, cwd=folder)
    async with within():
        out, _ = await process.communicate(code.encode())
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_tour(tmp_path: Path) -> None:
    """The five-minute tour can be pasted into a shell: the message that waited for the client is dequeued."""
    found = re.search(r"<!-- tour -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found is not None, "the README has no tour"
    async with serving() as site:
        tour = "set -eu -o pipefail\n" + found[1].replace(ADDRESS, site.address)
        printed = await run("bash", "-s", code=tour, folder=tmp_path)
    assert "pixied.v1.BackendService.Publish is a method" in printed
    assert '"added": [\n    "/chat/*"\n  ]' in printed
    assert '"matched_subscriptions": "1"' in printed
    assert r'"data": "{\"text\": \"hello\"}"' in printed
    assert '"engine": "memory"' in printed


async def test_the_python_snippet(tmp_path: Path) -> None:
    """The Python snippet prints the message it published, and the reason of the error it provoked."""
    async with serving() as site:
        printed = await run(sys.executable, "-", code=snippet("python", site.address), folder=tmp_path)
    assert printed.splitlines() == ["/chat/room {'text': 'hello'}", "CLIENT_UNKNOWN"]


async def test_the_node_snippet() -> None:
    """The Node snippet prints the message it published."""
    async with serving() as site:
        printed = await run("node", "-", code=snippet("node", site.address), folder=FAYE)
    assert printed == "/chat/room { text: 'hello' }\n"


async def test_the_faye_set_up() -> None:
    """The three lines make a Faye server that a Faye client can subscribe and publish on."""
    frame = """
        const server = require('node:http').createServer();
        SNIPPET
        server.listen(0, async () => {
          const client = new faye.Client(`http://127.0.0.1:${server.address().port}/faye`);
          await client.subscribe('/chat', (message) => { console.log(message); process.exit(0); });
          await client.publish('/chat', 'it works');
        });
    """
    async with serving() as site:
        printed = await run("node", "-", code=frame.replace("SNIPPET", snippet("faye", site.address)), folder=FAYE)
        held = (await site("GetInfo")).counters.clients_created
    assert printed == "it works\n"
    assert held == 1, "the Faye server kept its sessions elsewhere"


def test_the_settings_are_the_real_ones() -> None:
    """The README's table of settings is the one that the code makes."""
    assert with_table(README) == README
