"""The suite itself: what becomes of a test that hangs."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

HANGING = """
import asyncio

async def deep() -> None:
    await asyncio.Event().wait()

async def test_hangs() -> None:
    await asyncio.gather(asyncio.create_task(deep(), name="a task"))

async def test_does_not_hang() -> None:
    await asyncio.sleep(0)
"""


def test_a_test_that_hangs_fails_and_says_where(tmp_path: Path) -> None:
    """It shows the line at which each of its tasks waits, and the tests after it run."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    options = ["-c", ROOT / "pyproject.toml", "-p", "tests.conftest", "-p", "no:randomly", "-n", "1", "--timeout", "1"]
    command = [sys.executable, "-m", "pytest", *options, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "Timeout (>1.0s)" in done.stdout
    assert "a task waits" in done.stdout
    assert "test_hanging.py:5 in deep" in done.stdout
