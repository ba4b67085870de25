"""`pixied serve` and `pixied config`."""

import sys
from typing import Annotated

import typer

from pixied_server import app, telemetry, workers
from pixied_server.cli.exits import ExitCode, fail
from pixied_server.cli.flags import takes_settings
from pixied_server.cli.output import table, write_json
from pixied_server.settings import LoadedSettings, Settings
from pixied_server.settings.kinds import Engine

__all__ = ["config", "serve"]


@takes_settings
def serve(loaded: LoadedSettings) -> None:
    """Run the server until Ctrl-C or SIGTERM."""
    settings = loaded.settings
    telemetry.configure(settings.log_level, settings.log_format, sys.stderr)
    try:
        if settings.workers == 1:
            app.run(settings)
        else:
            workers.run(settings)
    except (app.AddressInUse, app.EngineRefused, workers.WorkerRefused) as error:
        fail(ExitCode.REFUSED, str(error))


@takes_settings
def config(
    loaded: LoadedSettings,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print the effective settings and where each came from."""
    for_people = []
    for name, setting in Settings.described().items():
        value, origin = getattr(loaded.settings, name), loaded.origins[name]
        if as_json:
            source = {"from": origin.layer, "source": origin.name or None}
            shown = setting.kind.show(value) if isinstance(setting.kind, Engine) else value
            write_json({"setting": name, "value": shown, "unit": setting.kind.unit or None} | source)
        for_people.append((name, setting.kind.show(value), origin, setting.description))
    if not as_json:
        table(("setting", "value", "from", "meaning"), for_people)
