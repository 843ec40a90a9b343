#!/usr/bin/env python3
"""A slow link in front of a worker, for trying out what a wire of some speed would do.

  python bench/slow_relay.py 127.0.0.1:7777 --there 1e6 --back 10e6

prints the address that it listens on; connections to it go to the worker, at so many bytes a second each way.
Pair with the worker itself first (`pinion pair`), then name the relay: certificates, not addresses, are trusted.
"""

from __future__ import annotations

import argparse
import asyncio
import time

PIECE = 4096
LATE_S = 0.005  # by which a piece may come too early, to make up for sleep that was too long


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float) -> None:
    due = time.monotonic()
    try:
        while piece := await reader.read(PIECE):
            if bytes_per_s > 0:
                due = max(due, time.monotonic() - LATE_S) + len(piece) / bytes_per_s
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(worker: tuple[str, int], port: int, there: float, back: float) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker_reader, worker_writer = await asyncio.open_connection(*worker, limit=PIECE)
        await asyncio.gather(pump(reader, worker_writer, there), pump(worker_reader, writer, back))

    server = await asyncio.start_server(relay, "127.0.0.1", port, limit=PIECE)
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
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
