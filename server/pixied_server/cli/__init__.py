"""The command line `pixied`."""

from pixied_server.settings import hush_grpc

__all__ = ["main"]


def main() -> None:
    """Runs the command line and ends the process with one of `exits.ExitCode`."""
    # gRPC's core looks at its environment when it is imported, which the commands do.
    hush_grpc()
    from pixied_server.cli.application import application  # noqa: PLC0415

    application(prog_name="pixied")
