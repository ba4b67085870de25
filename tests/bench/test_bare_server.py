"""The server that benchmarks compare with is served as pixied is."""

import grpc
from tests.bench.processes import python
from tests.support.caller import TIMEOUT

from pixied.v1 import operations_pb2 as ops


async def test_the_bare_server_answers() -> None:
    """Always the same."""
    answer = ops.GetClientResponse(client=ops.Client(client_id="ann", pending=7))
    async with (
        python("bare_server", answer.SerializeToString().hex()) as bare,
        grpc.aio.insecure_channel(bare.address) as channel,
    ):
        call = channel.unary_unary(
            "/pixied.v1.BackendService/GetClient", response_deserializer=ops.GetClientResponse.FromString
        )
        assert await call(b"", timeout=TIMEOUT) == answer
