"""The commands that a front-end has to send on its link, in their order: pure bookkeeping."""

from collections import deque

from pixied.v1 import attach_pb2, message_pb2

__all__ = ["FrameWriter"]


class FrameWriter:
    """The commands that wait for the next frame.

    Confirmations are merged, so that only the newest waits, however slowly frames are taken; attaches and detaches are
    one of each per client. So this is bounded by the number of clients.
    """

    def __init__(self) -> None:
        self._ack = 0
        self._acked = 0
        self._client_acks: dict[int, int] = {}
        self._commands: deque[attach_pb2.AttachCommand] = deque()
        self._heartbeat = False

    def attach(
        self, client_id: str, handle: int, ack_mode: message_pb2.AckMode, *, expires: bool, ack_cursor: int
    ) -> None:
        """Attach a client."""
        attach = attach_pb2.AttachClient(
            client_id=client_id, handle=handle, ack_mode=ack_mode, expires=expires, ack_cursor=ack_cursor
        )
        self._commands.append(attach_pb2.AttachCommand(attach=attach))

    def detach(self, handle: int) -> None:
        """Detach a client."""
        self._commands.append(attach_pb2.AttachCommand(detach=attach_pb2.DetachClient(handle=handle)))

    def ack(self, number: int) -> None:
        """Confirm the link's deliveries up to this one."""
        self._ack = number

    def client_ack(self, handle: int, number: int) -> None:
        """Confirm one client's deliveries up to this one."""
        self._client_acks[handle] = max(number, self._client_acks.get(handle, number))

    def forget(self, handle: int) -> None:
        """Drop a client's confirmations: it is no longer attached, and its handle may get another meaning."""
        self._client_acks.pop(handle, None)

    def heartbeat(self) -> None:
        """Answer a heartbeat."""
        self._heartbeat = True

    def next_frame(self, room: int) -> list[attach_pb2.AttachCommand]:
        """Take at most so many commands; an empty list if there are none.

        Confirmations go first: a detach behind them gives back only what really was not confirmed.
        """
        frame: list[attach_pb2.AttachCommand] = []
        if self._ack > self._acked:
            self._acked = self._ack
            frame.append(attach_pb2.AttachCommand(ack=attach_pb2.Ack(number=self._ack)))
        while self._client_acks and len(frame) < room:
            handle, number = self._client_acks.popitem()
            frame.append(attach_pb2.AttachCommand(client_ack=attach_pb2.ClientAck(handle=handle, number=number)))
        while self._commands and len(frame) < room:
            frame.append(self._commands.popleft())
        if self._heartbeat and not frame:
            frame.append(attach_pb2.AttachCommand(heartbeat=attach_pb2.Heartbeat()))
        self._heartbeat = False
        return frame
