"""Where settings come from: flags, then the environment, then a TOML file, then defaults."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from pixied_server.settings.model import CONTRADICTION, ENV_PREFIX, Settings

__all__ = [
    "ADDRESS_VARIABLE",
    "CONFIG_VARIABLE",
    "DEFAULT_FILE",
    "LoadedSettings",
    "Origin",
    "SettingsError",
    "flag",
    "hush_grpc",
    "load",
    "variable",
]

DEFAULT_FILE = Path("pixied.toml")
"""Read if it exists and no other file was named."""

CONFIG_VARIABLE = "PIXIED_CONFIG"
"""Names the TOML file; read by the command line."""

ADDRESS_VARIABLE = "PIXIED_ADDRESS"
"""Names the server that client commands talk to; read by the command line."""


class SettingsError(Exception):
    """The settings are wrong. The text is one line for the user: which setting, from where, what would be right."""


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    Args:
        layer: Which of the four places.
        name: The flag, variable or file; empty for a default.
    """

    layer: Literal["flag", "environment", "file", "default"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.layer} {self.name}".rstrip()


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, and where each came from.

    Args:
        settings: The effective settings.
        origins: One origin for each setting, by name.
    """

    settings: Settings
    origins: Mapping[str, Origin]


@dataclass(frozen=True)
class _Layer:
    values: Mapping[str, object]
    origins: Mapping[str, Origin]


def flag(name: str) -> str:
    """The flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + name.upper()


def load(flags: Mapping[str, object], config: Path | None = None) -> LoadedSettings:
    """Reads all settings.

    Args:
        flags: What was given on the command line, by setting.
        config: The TOML file; None for `DEFAULT_FILE` if it exists.

    Raises:
        SettingsError: The file can't be read, or a setting is unknown or wrong. The first problem is told.
    """
    given = _Layer(flags, {name: Origin("flag", flag(name)) for name in flags})
    layers = (given, _environment(), _file(config))
    values: dict[str, object] = {}
    origins = {name: Origin("default") for name in Settings.model_fields}
    for layer in reversed(layers):
        values.update(layer.values)
        origins.update(layer.origins)
    try:
        return LoadedSettings(Settings.model_validate(values), origins)
    except ValidationError as error:
        raise SettingsError(_explain(error.errors()[0], origins)) from error


def hush_grpc() -> None:
    """Keeps gRPC's core from writing to standard error, unless the user wants it; call it before grpc is imported.

    Its lines are neither JSON nor for users: what they tell, errors and the log tell in our words.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _environment() -> _Layer:
    known = {variable(name) for name in Settings.model_fields} | {CONFIG_VARIABLE, ADDRESS_VARIABLE}
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX) and name not in known:
            raise SettingsError(f"the environment variable {name} is no setting{_similar(name.upper(), known)}")
    values = EnvSettingsSource(Settings)()
    return _Layer(values, {name: Origin("environment", variable(name)) for name in values})


def _file(config: Path | None) -> _Layer:
    path = config or DEFAULT_FILE
    if config is None and not path.exists():
        return _Layer({}, {})
    try:
        # The source itself passes over a file that it does not find.
        path.open("rb").close()
        values = TomlConfigSettingsSource(Settings, path)()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not TOML: {error}"
        raise SettingsError(f"the settings file {path} can't be read: {reason}") from error
    for name in values:
        if name not in Settings.model_fields:
            raise SettingsError(f"{name} in the file {path} is no setting{_similar(name, set(Settings.model_fields))}")
    return _Layer(values, {name: Origin("file", str(path)) for name in values})


def _similar(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else "; 'pixied config' lists all settings"


def _explain(problem: ErrorDetails, origins: Mapping[str, Origin]) -> str:
    if problem["type"] == CONTRADICTION:
        names = [str(name) for name in problem["ctx"]["names"]]
        sources = ", ".join(f"{name} from {origins[name]}" for name in names)
        return f"{problem['ctx']['problem']} ({sources})"
    name = str(problem["loc"][0])
    reason = problem["ctx"]["error"] if "ctx" in problem else problem["msg"]
    return f"{name}: {reason} (from {origins[name]})"
