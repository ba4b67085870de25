"""HTTP/2 frame by frame, for what gRPC's own clients would not do."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["GOAWAY", "HEADERS", "PING", "RST_STREAM", "Http2", "connected"]

HEADERS, RST_STREAM, PING, GOAWAY = 1, 3, 6, 7
_DATA, _SETTINGS = 0, 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_END_OF_HEADERS, _END_OF_STREAM = 4, 1
_ACK = 1
_INITIAL_WINDOW = 4


class Http2:
    """A connection with nothing but HTTP/2 frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> None:
        """Send a frame, of the connection itself if it names no stream."""
        head = struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream)
        self._writer.write(head + payload)

    def begin(self, stream: int, path: str) -> None:
        """Send a call's beginning, without a body: so it stays open."""
        # POST by http, and fields that no table has (RFC 7541, sections 6.1 and 6.2.2).
        fields = ((":path", path), (":authority", "pixied"), ("content-type", "application/grpc"), ("te", "trailers"))
        words = (bytes([len(word)]) + word.encode() for field in fields for word in field)
        named = b"".join(b"\x00" * (number % 2 == 0) + word for number, word in enumerate(words))
        self.send(HEADERS, b"\x83\x86" + named, flags=_END_OF_HEADERS, stream=stream)

    def ask(self, stream: int, path: str, message: bytes) -> None:
        """Send a whole call with one message."""
        self.begin(stream, path)
        self.send(_DATA, struct.pack("!BI", 0, len(message)) + message, flags=_END_OF_STREAM, stream=stream)

    async def frame(self) -> tuple[int, int, bytes]:
        """The next frame: kind, flags, payload. Settings are confirmed."""
        head = await self._reader.readexactly(9)
        payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        if head[3] == _SETTINGS and not head[4] & _ACK:
            self.send(_SETTINGS, flags=_ACK)
        return head[3], head[4], payload

    async def after_ping(self) -> tuple[int, bytes]:
        """Ping; gives the first frame that answers it: PING or GOAWAY."""
        self.send(PING, b"pixied!!")
        while True:
            kind, flags, payload = await self.frame()
            if kind == GOAWAY or (kind == PING and flags & _ACK):
                return kind, payload


@asynccontextmanager
async def connected(address: str, *, window: int = 65_535) -> AsyncIterator[Http2]:
    """A connection. `window` is how many bytes it takes of each stream that it does not read."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_PREFACE)
        connection = Http2(reader, writer)
        connection.send(_SETTINGS, struct.pack("!HI", _INITIAL_WINDOW, window))
        yield connection
    finally:
        writer.close()
        await writer.wait_closed()
