"""The command line `pixied`."""

import sys

from pixied_server.settings import hush_grpc

__all__ = ["main"]

# As a shell has it: 128 and the number of SIGINT.
INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with one of `exits.ExitCode`."""
    # gRPC's core looks at its environment when it is imported, which the commands do.
    hush_grpc()
    try:
        from pixied_server.cli.application import application  # noqa: PLC0415
    except KeyboardInterrupt:
        # Someone is quicker than the imports, which take a second.
        sys.exit(INTERRUPTED)
    application(prog_name="pixied")
