"""A Bayeux server for CometD's and Faye's clients as an ASGI application: `pip install pixied-client[bayeux]`."""

from pixied_client.bayeux import cometd
from pixied_client.bayeux.application import Bayeux
from pixied_client.bayeux.browsers import BrowserCookie
from pixied_client.bayeux.extension import Extension
from pixied_client.bayeux.hooks import Handshake
from pixied_client.bayeux.limits import Limits, Rate, Timing
from pixied_client.bayeux.message import BayeuxMessage, Json
from pixied_client.bayeux.refusal import Denied, Refusal
from pixied_client.bayeux.request import Request
from pixied_client.bayeux.session import Session

__all__ = [
    "Bayeux",
    "BayeuxMessage",
    "BrowserCookie",
    "Denied",
    "Extension",
    "Handshake",
    "Json",
    "Limits",
    "Rate",
    "Refusal",
    "Request",
    "Session",
    "Timing",
    "cometd",
]
