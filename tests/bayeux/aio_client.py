"""An unmodified Python client, aiocometd-ng, in a process of its own: it talks to itself.

usage: python aio_client.py TRANSPORT URL COUNT
Prints the data of COUNT messages that it published, one JSON line each, as they arrive.
"""

import asyncio
import json
import sys

from aiocometd_ng import Client
from aiocometd_ng.constants import ConnectionType


async def main(transport: str, url: str, count: int) -> None:
    async with Client(url, ConnectionType(transport)) as client:
        await client.subscribe("/python")
        for number in range(count):
            await client.publish("/python", {"number": number})
        for _ in range(count):
            message = await client.receive()
            sys.stdout.write(json.dumps(message["data"]) + "\n")


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
