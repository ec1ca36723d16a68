"""A server on loopback, of asyncio, for benches that look at each connection."""

import asyncio


class Listener:
    def __init__(self):
        # asyncio itself holds tasks weakly, and drops one whose connection has ended in one direction.
        self.tasks = set()

    async def start(self):
        """Returns its port."""
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0, backlog=1024)
        return self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.serve(reader, writer)
        finally:
            self.tasks.discard(task)

    def close(self):
        self.server.close()
