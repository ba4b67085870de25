"""The commands that a server is asked about at the start are those that are used."""

import re
from pathlib import Path

from pixied_server.engine import redis
from pixied_server.engine.redis.connection.inspection import COMMANDS


def test_the_commands_of_the_script_are_looked_for() -> None:
    """None is missing, so that a server that lacks one is refused; none is asked for that is not used."""
    scripts = (Path(redis.__file__).parent / "partition" / "scripts").glob("*.lua")
    script = "\n".join(one.read_text() for one in scripts)
    assert set(re.findall(r"redis\.call\('([A-Z]+)'", script)) == set(COMMANDS)
