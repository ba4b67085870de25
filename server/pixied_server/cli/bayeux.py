"""`pixied bayeux`: a Bayeux server for browsers, in a process of its own."""

import logging
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixied_server import telemetry
from pixied_server.cli.connection import ServerAddress
from pixied_server.cli.exits import ExitCode, fail
from pixied_server.cli.uvicorn_log import OncePerMinute
from pixied_server.settings import Address

if TYPE_CHECKING:
    from pixied_client.bayeux import BrowserCookie, Timing
    from pixied_server.cli.connections import ConnectionLimits

__all__ = ["bayeux"]


@dataclass(frozen=True, slots=True)
class Manner:
    """Which web pages may connect, by what, and how they are treated; see `Bayeux`."""

    origins: list[str]
    hosts: list[str]
    jsonp: bool | None
    transports: Sequence[str]
    cookie: "BrowserCookie"
    broadcast_to_publisher: bool


_GRACE = 5  # seconds that a stop waits for responses under way
_NOT_HERE = b"This is pixied's Bayeux front-end: Bayeux clients connect at another path.\n"


def bayeux(
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where browsers connect.")] = "127.0.0.1:8080",
    path: Annotated[str, typer.Option(metavar="PATH", help="The path at which Bayeux clients connect.")] = "/bayeux",
    name: Annotated[str, typer.Option(help="This front-end's name, for pixied's operators.")] = "bayeux",
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that a connect is held if there are no messages.")
    ] = 45.0,
    interval: Annotated[float, typer.Option(min=0, help="Seconds that clients wait between two connects.")] = 0.0,
    max_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds without a connect, beyond --interval, after which a session ends.")
    ] = 30.0,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="A web origin that may connect; may be repeated.  [default: all]"),
    ] = None,
    own_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="A name of this front-end, as browsers write it, whose pages may connect too; may be repeated.",
        ),
    ] = None,
    jsonp: Annotated[
        bool | None,
        typer.Option(help="Whether there is callback-polling.  [default: only where all origins may connect]"),
    ] = None,
    transport: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A transport that is on, such as websocket; may be repeated.  [default: all]"
        ),
    ] = None,
    broadcast_to_publisher: Annotated[
        bool, typer.Option(help="Whether a client that subscribes to a channel gets what it publishes there itself.")
    ] = True,
    cookie_secure: Annotated[
        bool, typer.Option(help="Whether the cookie that tells browsers apart is sent through TLS alone.")
    ] = False,
    cookie_same_site: Annotated[
        str, typer.Option(metavar="POLICY", help="That cookie's SameSite: Strict, Lax or None.")
    ] = "Lax",
    cookie_domain: Annotated[
        str, typer.Option(metavar="DOMAIN", help="That cookie's Domain.  [default: the front-end's host]")
    ] = "",
    max_connections: Annotated[
        int,
        typer.Option(min=0, help="Connections at a time; 0 for what the system's limit of open files is good for."),
    ] = 0,
    max_connections_per_address: Annotated[
        int,
        typer.Option(min=0, help="Connections at a time from one address, be it a proxy's; 0 for half of all."),
    ] = 0,
    header_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a connection may take to ask for something.")
    ] = 10.0,
    log_level: Annotated[str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(metavar="FORMAT", help="auto, console or json.")] = "auto",
    address: ServerAddress = None,
) -> None:
    """Serve Bayeux clients (CometD, Faye) in browsers, on the pixied at --address, until Ctrl-C or SIGTERM.

    It keeps no session: start as many as you like behind any balancer, no sticky sessions needed.
    """
    try:
        from pixied_client.bayeux import BrowserCookie, Timing  # noqa: PLC0415 - an extra
        from pixied_client.bayeux.origins import Origins  # noqa: PLC0415 - an extra
        from pixied_client.bayeux.transports import ALL_TRANSPORTS, Transports  # noqa: PLC0415 - an extra
        from pixied_server.cli.connections import ConnectionLimits, descriptors  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        fail(ExitCode.USAGE, f"{error.name} is missing; install it with: pip install 'pixied[bayeux]'")
    if not path.startswith("/") or (path != "/" and path.endswith("/")):
        fail(ExitCode.USAGE, f"--path {path}: it has to begin with a slash and not to end with one")
    try:
        cookie = BrowserCookie(domain=cookie_domain, secure=cookie_secure, same_site=cookie_same_site)
        pages = Origins(origin or ["*"], own_host or [], jsonp=jsonp)
        transports = Transports(transport or ALL_TRANSPORTS, jsonp=pages.jsonp).offered
        timing = Timing(timeout, interval, max_interval)
    except ValueError as error:
        fail(ExitCode.USAGE, str(error))
    manner = Manner(origin or ["*"], own_host or [], jsonp, transports, cookie, broadcast_to_publisher)
    listener = _listener(listen)
    telemetry.configure(log_level, log_format, sys.stderr)
    good_for, backlog = descriptors()
    most = min(max_connections or good_for, good_for)
    limits = ConnectionLimits(most, max_connections_per_address or max(1, most // 2), header_timeout, backlog)
    _serve(listener, path, str(address), name, timing, manner, limits)


def _listener(listen: str) -> socket.socket:
    """Bind, before anything else is started."""
    try:
        host, _, port = Address.parse(listen).text.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=2_048)
    except ValueError as error:
        fail(ExitCode.USAGE, f"--listen {listen}: {error}")
    except OSError as error:
        fail(ExitCode.REFUSED, f"can't listen on {listen}: {error.strerror}")


def _serve(
    listener: socket.socket,
    path: str,
    address: str,
    name: str,
    timing: "Timing",
    manner: Manner,
    limits: "ConnectionLimits",
) -> None:
    import structlog  # noqa: PLC0415 - beside what follows
    import uvicorn  # noqa: PLC0415 - an extra

    from pixied_client.bayeux import Bayeux, cometd  # noqa: PLC0415 - an extra
    from pixied_server.cli.connections import Connections  # noqa: PLC0415 - an extra

    logging.getLogger("uvicorn.error").addFilter(OncePerMinute())
    application = Bayeux(address, name=name, timing=timing, **_given(manner), extensions=[cometd.TimeSync()])

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            application.drain()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        application if path == "/" else application.beside(_elsewhere, path),
        log_config=None,
        # Paths of event streams hold client ids; what else uvicorn would log is filtered.
        access_log=False,
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=_GRACE,
        server_header=False,
        **Connections(limits).protocols(),
    )
    host, port = listener.getsockname()[:2]
    structlog.get_logger(__name__).info("listening", address=f"{host}:{port}", path=path, pixied=address)
    for stop in (signal.SIGINT, signal.SIGTERM):
        # uvicorn stops in good order and then raises the signal once more; there is nothing left to stop.
        signal.signal(stop, lambda *_: None)
    Server(config).run(sockets=[listener])


def _given(manner: Manner) -> dict[str, Any]:
    return {each.name: getattr(manner, each.name) for each in fields(manner)}


async def _elsewhere(scope: Any, receive: Any, send: Any) -> None:
    """Answer what is none of Bayeux's business."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": _NOT_HERE})
    else:
        await receive()
        await send({"type": "websocket.close"})
