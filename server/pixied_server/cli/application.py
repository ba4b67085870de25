"""The command `pixied`: its subcommands, and how each of them ends."""

import platform
import sys
from importlib.metadata import version as version_of
from typing import Annotated, Any

import grpc
import typer
from typer.core import TyperGroup

from pixied_server.cli import bayeux, bench, calling, following, listing, publishing, server
from pixied_server.cli.connection import DEFAULT_ADDRESS, GlobalAddress
from pixied_server.cli.exits import EXPLAINED, EXPLANATION, fail_for
from pixied_server.cli.output import console, write_json

__all__ = ["application"]


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EXPLAINED as error:
            fail_for(error)


application = typer.Typer(
    name="pixied",
    cls=_Commands,
    help="The backend of a Bayeux server (CometD, Faye, Pixie) as a service of its own.",
    epilog=EXPLANATION,
    no_args_is_help=True,
    # Rich's help is a table that cuts the names of long flags off at 80 columns.
    rich_markup_mode=None,
    # A user's traceback would show locals, and so payloads and client ids.
    pretty_exceptions_enable=False,
)


@application.callback()
def _everywhere(*, address: GlobalAddress = DEFAULT_ADDRESS) -> None:
    del address  # The commands ask for it through their context: see `connection`.


def version(*, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Print the versions of pixied and of what it runs on."""
    versions = {"pixied": version_of("pixied"), "python": platform.python_version(), "grpc": grpc.__version__}
    if as_json:
        write_json(versions)
    else:
        pixied, python, grpcio = versions.values()
        console(sys.stdout).print(f"pixied {pixied} (Python {python}, gRPC {grpcio})")


for _command in (
    server.serve,
    server.config,
    bayeux.bayeux,
    publishing.publish,
    following.subscribe,
    listing.clients,
    listing.channels,
    listing.client,
    following.watch,
    calling.call,
    bench.bench,
    version,
):
    application.command()(_command)
