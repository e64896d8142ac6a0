# SPDX-License-Identifier: ISC
"""Opens a WebSocket through the proxy with an absolute target, "GET ws://...", as aiohttp does. Needs python3-aiohttp."""
import asyncio

import aiohttp


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect("ws://127.0.0.1:8002/ws", proxy="http://127.0.0.1:8128") as socket:
            await socket.send_str("by an absolute target")
            print((await socket.receive()).data)


asyncio.run(main())
