# SPDX-License-Identifier: ISC
"""A WebSocket server that says everything back, on 127.0.0.1:8002. Needs python3-websockets."""
import asyncio

import websockets


async def echo(socket, path=None):
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass


async def main():
    async with websockets.serve(echo, "127.0.0.1", 8002, subprotocols=["chat.v1"]):
        await asyncio.Future()


asyncio.run(main())
