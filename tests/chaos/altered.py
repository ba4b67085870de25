"""`pixied` with facts that its users can't change: a script that takes them as JSON, then pixied's own arguments.

`clock` is by how many seconds this process's clocks are off, `probe` and `silent` are how often the engine asks whether
it still receives from its store, and after how many seconds without an answer it gives a connection up.
"""

import json
import sys
import time
from collections.abc import Callable

_FACTS = json.loads(sys.argv.pop(1))


def _off(clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() + _FACTS["clock"]


if "clock" in _FACTS:
    time.time, time.monotonic = _off(time.time), _off(time.monotonic)

# Only now: modules take the clocks by their names.
from pixied_server.cli import main  # noqa: E402
from pixied_server.engine.redis.upkeep import upkeep  # noqa: E402

if "probe" in _FACTS:
    upkeep._PROBE, upkeep._SILENT = _FACTS["probe"], _FACTS["silent"]

main()
