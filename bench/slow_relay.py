#!/usr/bin/env python3
"""A slow link in front of a worker, for trying out what a wire of some speed would do.

  python bench/slow_relay.py 127.0.0.1:7777 --there 1e6 --back 10e6

prints the address that it listens on; connections to it go to the worker, at so many bytes a second each way.
Pair with the worker itself first (`pinion pair`), then name the relay: certificates, not addresses, are trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time

PIECE = 4096
BUFFER = 16 << 10  # small, so that the machine's buffers hide little of the speed


def make_small(sock: socket.socket) -> None:
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float) -> None:
    due = time.monotonic()
    try:
        while piece := await reader.read(PIECE):
            if bytes_per_s > 0:
                due = max(due, time.monotonic()) + len(piece) / bytes_per_s
                await asyncio.sleep(due - time.monotonic())
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(worker: tuple[str, int], port: int, there: float, back: float) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_worker = socket.create_connection(worker)
        make_small(to_worker)
        worker_reader, worker_writer = await asyncio.open_connection(sock=to_worker, limit=BUFFER)
        await asyncio.gather(pump(reader, worker_writer, there), pump(worker_reader, writer, back))

    listening = socket.create_server(("127.0.0.1", port))
    make_small(listening)
    server = await asyncio.start_server(relay, sock=listening, limit=BUFFER)
    print(f"127.0.0.1:{listening.getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worker", help="HOST:PORT")
    parser.add_argument("--there", type=float, default=0, help="bytes a second to the worker [as fast as it goes]")
    parser.add_argument("--back", type=float, default=0, help="bytes a second from it [as fast as it goes]")
    parser.add_argument("--port", type=int, default=0, help="to listen on [a free one]")
    args = parser.parse_args()
    host, port = args.worker.rsplit(":", 1)
    try:
        asyncio.run(serve((host, int(port)), args.port, args.there, args.back))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
