"""`pixied call`: any RPC of the contract by hand."""

import json
import threading
from importlib.metadata import version

import pytest
from tests.cli.stage import Run, lines, meanwhile, poll

from pixied.v1 import admin_service_pb2, backend_service_pb2
from pixied_client import Message, sync
from pixied_server.cli.calling import METHODS
from pixied_server.cli.exits import ExitCode


def test_every_rpc_of_the_contract_can_be_called() -> None:
    """The names are unique over all services, so that none needs its service in front."""
    services = [
        backend_service_pb2.DESCRIPTOR.services_by_name["BackendService"],
        admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
    ]
    assert len(METHODS) == sum(len(service.methods) for service in services)


@pytest.mark.parametrize("name", ["GetInfo", "AdminService/GetInfo", "pixied.v1.AdminService/GetInfo"])
def test_call_answers_in_json(pixied: Run, name: str) -> None:
    """An RPC goes by its name, or with its service in front; the answer is JSON, zeros and all."""
    result = pixied("call", name)
    assert result.exit_code == ExitCode.OK
    answer = json.loads(result.stdout)
    assert answer["version"] == version("pixied")
    assert "redelivered" in answer["counters"]
    assert result.stdout.startswith('{\n  "version"')


def test_call_takes_a_request(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """The request is JSON with the contract's names, as an argument or from standard input."""
    request = json.dumps({"client_id": alice, "channels": ["/called/a", "/called/b"]})
    assert lines(pixied("call", "Subscribe", request, "--json")) == [{"added": ["/called/a", "/called/b"]}]
    assert lines(pixied("call", "Subscribe", "-", "--json", text=request)) == [{"added": []}]
    assert list(backend.subscribed_to(alice)) == ["/called/a", "/called/b"]


def test_call_streams_answers(pixied: Run, backend: sync.Backend, alice: str) -> None:
    """A server's stream is printed as it comes, until it ends."""
    backend.subscribe(alice, ["/called/stream"])
    backend.publish([Message("/called/stream", "1")])

    def end(over: threading.Event) -> None:
        poll(lambda: over.is_set() or backend.get_client(alice).front_end)
        backend.destroy_client(alice)

    with meanwhile(end):
        result = pixied("call", "Deliver", json.dumps({"client_id": alice}), "--json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [message["data"] for answer in answers for message in answer["messages"]] == ["1"]


def test_call_pipelines_lines(pixied: Run) -> None:
    """Pipeline takes a request per line and ends with the input; an operation's error is a result like any other."""
    operations = ('{"generate_namespace": {"length": 3}}', '{"get_client": {"client_id": "x"}}')
    text = "\n\n".join(f'{{"operations": [{operation}]}}' for operation in operations)
    answers = lines(pixied("call", "Pipeline", "-", "--json", text=text))
    first, second = [result for answer in answers for result in answer["results"]]  # type: ignore[attr-defined]
    assert len(first["generate_namespace"]["namespace"]) == 3
    assert second["error"]["details"][0]["reason"] == "CLIENT_UNKNOWN"


def test_call_takes_a_single_frame_as_an_argument(pixied: Run) -> None:
    """A bidirectional stream of one frame needs no standard input."""
    [answer] = lines(pixied("call", "Pipeline", '{"operations": [{"generate_namespace": {}}]}', "--json"))
    assert len(answer["results"]) == 1  # type: ignore[arg-type]


def test_call_answers_what_came_before_a_bad_line(pixied: Run) -> None:
    """A line that is no request is named; what was sent before it is answered."""
    result = pixied(
        "call", "Pipeline", "-", "--json", text='{"operations": [{"generate_namespace": {}}]}\n{"nope": 1}\n'
    )
    assert result.exit_code == ExitCode.USAGE
    assert len(json.loads(result.stdout)["results"]) == 1
    assert result.stderr.startswith("pixied: line 2 is no PipelineRequest: ")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("Publsh",), ExitCode.USAGE, "did you mean Publish? right would be Attach, ClientSubscribed"),
        (("AdminService/Publish",), ExitCode.USAGE, "there is no RPC 'AdminService/Publish'"),
        (("Publish", "{"), ExitCode.USAGE, "the request is no PublishRequest"),
        (("Publish", '{"nope": 1}'), ExitCode.USAGE, 'no field named "nope"'),
        (("GetClient", '{"client_id": "x"}'), ExitCode.REFUSED, "client"),
        (("Watch", "{}", "--timeout", "0.2"), ExitCode.UNREACHABLE, "no answer in time"),
    ],
)
def test_call_explains_what_is_wrong(pixied: Run, arguments: tuple[str, ...], code: ExitCode, part: str) -> None:
    """Unknown RPCs, bad requests, refusals and time each have their words and exit code."""
    result = pixied("call", *arguments)
    assert result.exit_code == code
    assert part in result.stderr
