"""The package's README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdk.servers import TIMEOUT, running_server

README = Path(__file__).parents[2] / "client_sdk" / "python" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
OUTPUTS = [
    ["[{'text': 'hello'}]", "channels"],
    ["1", "hello"],
    ["['hello'] False ()", "DESTROYED"],
    ["hello for 3 clients"],
]


@pytest.mark.parametrize(("example", "expected"), list(zip(EXAMPLES, OUTPUTS, strict=True)))
def test_example(example: str, expected: list[str]) -> None:
    """Each example runs as it stands, but for the address, and prints what it is meant to show."""
    with running_server() as server:
        program = example.replace("127.0.0.1:50051", server.address)
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for text in expected:
        assert text in done.stdout
