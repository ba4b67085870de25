"""The command line `pixied`."""

from pixied_server.cli.application import application, main
from pixied_server.cli.exits import ExitCode

__all__ = ["ExitCode", "application", "main"]
