"""The blocking face with gRPC's own testing channel: deadlines, retries and their times, without waiting."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from tests.sdk.test_errors import status_of

from pixied.v1 import admin_service_pb2, backend_service_pb2, operations_pb2
from pixied_client import Backoff, DeadlineExceeded, EngineUnavailable, Message, PixiedError, Retries, Unavailable
from pixied_client.sync import Admin, Backend

BACKEND = backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"]
ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]


class Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """The server's side of the testing channel, for a Backend that runs in a thread."""

    def __init__(self, clock: Clock) -> None:
        self.channel = grpc_testing.channel([BACKEND, ADMIN], grpc_testing.strict_real_time())
        self.clock = clock
        self._threads = ThreadPoolExecutor(1)

    def backend(self, **options: Any) -> Backend:
        """A Backend on the testing channel whose pauses are half a second."""
        retries = Retries(attempts=3, backoff=Backoff(first=1.0, longest=1.0))
        options = {"retries": retries, "clock": lambda: self.clock.now, "sleep": self.clock.sleep, **options}
        return Backend("example:1", channel=self.channel, chance=lambda: 0.5, **options)

    def run(self, call: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        """Begin a call in a thread."""
        return self._threads.submit(call, *arguments)

    def answer(
        self,
        method: str,
        response: Any,
        *,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        status: status_pb2.Status | None = None,
    ) -> Any:
        """Wait for a call, answer it, and give its request."""
        trailers = (("grpc-status-details-bin", status.SerializeToString()),) if status else ()
        _, request, rpc = self.channel.take_unary_unary(BACKEND.methods_by_name[method])
        rpc.send_initial_metadata(())
        rpc.terminate(response, trailers, code, "gone away")
        return request

    def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown()


@pytest.fixture
def remote() -> Iterator[Server]:
    server = Server(Clock())
    yield server
    server.close()


def test_answer(remote: Server) -> None:
    """A call sends its request and gives what was answered."""
    call = remote.run(remote.backend().generate_namespace, 5)
    request = remote.answer("GenerateNamespace", operations_pb2.GenerateNamespaceResponse(namespace="abcde"))
    assert request.length == 5
    assert call.result() == "abcde"


def test_retries(remote: Server) -> None:
    """A call that can be repeated is tried again after pauses with jitter, as often as the policy says."""
    call = remote.run(remote.backend().subscribed_to, "ann")
    for _ in range(3):
        remote.answer("SubscribedTo", None, code=grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable, match="example:1: gone away"):
        call.result()
    assert remote.clock.slept == [0.5, 0.5]


def test_success_after_retry(remote: Server) -> None:
    """A call that succeeds at the second attempt is a success."""
    call = remote.run(remote.backend().subscribed_to, "ann")
    remote.answer("SubscribedTo", None, code=grpc.StatusCode.UNAVAILABLE)
    remote.answer("SubscribedTo", operations_pb2.SubscribedToResponse(channels=["/a"]))
    assert call.result() == ["/a"]


@pytest.mark.parametrize(
    ("method", "name", "arguments"),
    [
        ("CreateClient", "create_client", ()),
        ("GenerateNamespace", "generate_namespace", ()),
        ("ReleaseNamespace", "release_namespace", ("a",)),
        ("DestroyClient", "destroy_client", ("a",)),
        ("DequeueFor", "dequeue_for", ("a",)),
    ],
)
def test_unsafe_operations(remote: Server, method: str, name: str, arguments: tuple[Any, ...]) -> None:
    """What would do more if it were done twice is sent once."""
    call = remote.run(getattr(remote.backend(), name), *arguments)
    remote.answer(method, None, code=grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable):
        call.result()
    assert remote.clock.slept == []


def test_publish_is_repeated_with_its_key(remote: Server) -> None:
    """A publish is repeated with the very same idempotency keys."""
    call = remote.run(remote.backend().publish, [Message.of("/a", 1), Message.of("/a", 2)])
    first = remote.answer("Publish", None, code=grpc.StatusCode.UNAVAILABLE)
    again = remote.answer("Publish", operations_pb2.PublishResponse(results=[{}, {"duplicate": True}]))
    assert first == again
    assert len({message.idempotency_key for message in again.messages} - {""}) == 2
    assert [result.duplicate for result in call.result()] == [False, True]


def test_publish_without_keys_is_not_repeated(remote: Server) -> None:
    """A publish without keys is sent once."""
    backend = remote.backend()
    call = remote.run(lambda: backend.publish([Message.of("/a", 1)], keyed=False))
    request = remote.answer("Publish", None, code=grpc.StatusCode.UNAVAILABLE)
    assert request.messages[0].idempotency_key == ""
    with pytest.raises(Unavailable):
        call.result()


def test_retry_info(remote: Server) -> None:
    """The server's RetryInfo is waited for, and the jitter on top."""
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3))
    call = remote.run(remote.backend().get_client, "ann")
    status = status_of("ENGINE_UNAVAILABLE", retry, code=grpc.StatusCode.UNAVAILABLE.value[0])
    for _ in range(3):
        remote.answer("GetClient", None, code=grpc.StatusCode.UNAVAILABLE, status=status)
    with pytest.raises(EngineUnavailable) as caught:
        call.result()
    assert caught.value.retry_after == 3.0
    assert remote.clock.slept == [3.5, 3.5]


def test_no_pause_beyond_the_deadline(remote: Server) -> None:
    """If the next attempt would begin after the deadline, the error comes at once."""
    call = remote.run(remote.backend(timeout=0.8).get_client, "ann")
    remote.answer("GetClient", None, code=grpc.StatusCode.UNAVAILABLE)
    remote.answer("GetClient", None, code=grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable):
        call.result()
    assert remote.clock.slept == [0.5]


def test_other_errors_are_not_repeated(remote: Server) -> None:
    """An error that another attempt would not change is raised at once."""
    call = remote.run(remote.backend().get_client, "ann")
    remote.answer("GetClient", None, code=grpc.StatusCode.INTERNAL, status=status_of("INTERNAL", code=13))
    with pytest.raises(PixiedError) as caught:
        call.result()
    assert caught.value.reason == "INTERNAL"
    assert remote.clock.slept == []


def test_deadline(remote: Server) -> None:
    """A call that got no answer in its time fails, and is not repeated: there is no time left."""
    call = remote.run(remote.backend().get_client, "ann")
    remote.answer("GetClient", None, code=grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(DeadlineExceeded):
        call.result()
    assert remote.clock.slept == []


def test_given_channel_stays_open(remote: Server) -> None:
    """A channel that was handed in is not closed with the Backend or Admin that used it."""
    with remote.backend() as first, Admin("example:1", channel=remote.channel):
        pass
    call = remote.run(first.generate_namespace)
    remote.answer("GenerateNamespace", operations_pb2.GenerateNamespaceResponse(namespace="a"))
    assert call.result() == "a"
