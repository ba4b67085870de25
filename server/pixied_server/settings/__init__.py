"""The settings of a server: what they are, where they come from, and how they are written down."""

from pixied_server.settings.kinds import Address
from pixied_server.settings.model import Setting, Settings
from pixied_server.settings.sources import (
    ADDRESS_VARIABLE,
    CONFIG_VARIABLE,
    DEFAULT_FILE,
    LoadedSettings,
    Origin,
    SettingsError,
    flag,
    hush_grpc,
    load,
    variable,
)

__all__ = [
    "ADDRESS_VARIABLE",
    "CONFIG_VARIABLE",
    "DEFAULT_FILE",
    "Address",
    "LoadedSettings",
    "Origin",
    "Setting",
    "Settings",
    "SettingsError",
    "flag",
    "hush_grpc",
    "load",
    "variable",
]
