"""The flags of `serve` and `config`, made from the settings so that none is typed twice."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pixied_server.settings import CONFIG_VARIABLE, DEFAULT_FILE, Setting, Settings, flag, load
from pixied_server.settings.kinds import Addresses, Switch

__all__ = ["takes_settings"]

_ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help=f"A TOML file of settings.  [default: {DEFAULT_FILE} if it exists]",
        show_default=False,
    ),
]


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command one flag per setting, and `--config`.

    Args:
        command: Called with the loaded settings first, then with its own parameters by name.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def run(config: Path | None, **given: Any) -> None:
        mine = {parameter.name: given.pop(parameter.name) for parameter in own}
        flags = {name: value for name, value in given.items() if value is not None and value != []}
        command(load(flags, config), **mine)

    parameters = [
        inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, annotation=_ConfigFile, default=None),
        *(_flag(name, setting) for name, setting in Settings.described().items()),
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
    ]
    # Typer reads the one, and the other for types that are written as text.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _flag(name: str, setting: Setting) -> inspect.Parameter:
    """The flag of a setting. It takes any text: the setting's kind judges it, as it does for the other sources."""
    kind = setting.kind
    default = kind.show(Settings.model_fields[name].default)
    limits = "" if isinstance(kind, Switch) else f"; {kind.range()}"
    names = [f"{flag(name)}/--no-{flag(name)[2:]}"] if isinstance(kind, Switch) else [flag(name)]
    option = typer.Option(
        *names,
        metavar=kind.metavar or None,
        help=f"{setting.description}.  [default: {default}{limits}]",
        show_default=False,
    )
    value: Any = bool if isinstance(kind, Switch) else list[str] if isinstance(kind, Addresses) else str
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[value | None, option], default=None
    )
