#!/usr/bin/env python3
"""Fetches large bodies in segments, beside aria2c, wget2, axel and curl.

    cargo build --release
    benches/segments.py

Two servers on this machine: one gives each connection 5 MB/s, one gives 50 MB/s to all of them
together. From each, one body of 1 GiB is fetched, and a list of 1,000 bodies of 20 KB and 3 of
128 MiB. The programs take turns, three rounds; the table has the medians in seconds, with the
least and the greatest. What was saved is compared byte for byte. Needs Python 3 and the other
programs (Debian: apt-get install aria2 wget2 axel curl); those that are missing are left out.
FETCHALL names another program than target/release/fetchall, ROUNDS another number of rounds.
"""

import asyncio
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = os.environ.get("FETCHALL") or str(
    Path(__file__).resolve().parent.parent / "target/release/fetchall"
)
ROUNDS = int(os.environ.get("ROUNDS", "3"))
MIB = 1 << 20
SMALL, LARGE, HUGE = 20_000, 128 * MIB, 1024 * MIB
# A prime number of bytes, so that no part of a body looks like the part beside it.
PATTERN = bytes((n * n + n // 251) % 251 for n in range(1_000_003)) * 2
CHUNK = 50_000


def part(start, end):
    """The bytes of every body from `start` to before `end`, at most 1 MB of them."""
    at = start % 1_000_003
    return PATTERN[at : at + end - start]


class Share:
    """When the next bytes may leave, at a rate in bytes per second."""

    def __init__(self, rate):
        self.rate, self.next = rate, 0.0

    async def wait(self, size):
        now = time.monotonic()
        # What was not used is not made up for, but for a tenth of a second.
        self.next = max(self.next, now - 0.1) + size / self.rate
        await asyncio.sleep(max(0.0, self.next - now))


async def respond(request, writer, share):
    head, *lines = request.decode("latin-1").split("\r\n")
    method, path, _ = head.split(" ")
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    size = int(path.split("/")[1])
    start, end, status = 0, size, "200 OK"
    if "range" in fields and fields.get("if-range", '"one"') == '"one"':
        first, _, last = fields["range"].removeprefix("bytes=").partition("-")
        start, end, status = int(first), min(int(last or size) + 1, size), "206 Partial Content"
        if not last:
            end = size
    answer = f"HTTP/1.1 {status}\r\nContent-Length: {end - start}\r\nAccept-Ranges: bytes\r\n"
    answer += 'Content-Type: application/octet-stream\r\nETag: "one"\r\n'
    if status.startswith("206"):
        answer += f"Content-Range: bytes {start}-{end - 1}/{size}\r\n"
    writer.write(answer.encode() + b"\r\n")
    while method != "HEAD" and start < end:
        data = part(start, min(start + CHUNK, end))
        await share.wait(len(data))
        writer.write(data)
        await writer.drain()
        start += len(data)


def serve(port_of, each, total):
    async def connection(reader, writer):
        share = Share(each) if each else all_share
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await respond(request.rstrip(b"\r\n"), writer, share)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def listen():
        # The programs drop what they have too much of, and that is no error here.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=MIB)
        for socket in server.sockets:
            port_of.put(socket.getsockname()[1])
        await server.serve_forever()

    all_share = Share(total)
    asyncio.run(listen())


def commands(is_list, each):
    """The command of each program that fetches the list `urls` into the current directory."""
    fetchall = [PROGRAM, "--no-config", "-q", "-o", "."]
    wget2 = ["wget2", "-q", "--max-threads=16", "--chunk-size=64M", "-i", "urls"]
    aria2 = ["aria2c", "-q", "-j16", "-x16", "-s16", "-k1M", "--file-allocation=none", "-i", "urls"]
    argv = {
        "fetchall": [*fetchall, "urls"],
        "fetchall --segments auto": [*fetchall, "--segments", "auto", "urls"],
        "aria2c -j16 -x16 -s16": aria2,
        "wget2 --chunk-size=64M": wget2,
    }
    if is_list:
        curl = r"sed 's/.*/-O\nurl=&/' urls | curl -s -Z --parallel-max 16 -K -"
        argv["curl -Z"] = ["sh", "-c", curl]
    else:
        argv["axel -n16"] = ["sh", "-c", 'axel -q -n16 "$(cat urls)"']
        argv["curl"] = ["sh", "-c", 'curl -s -O "$(cat urls)"']
        if each:
            # One connection takes 215 s, which needs no measurement.
            del argv["fetchall"], argv["curl"]
    there = ("fetchall", *filter(shutil.which, ("aria2c", "wget2", "axel", "curl")))
    return {name: args for name, args in argv.items() if name.startswith(there)}


def is_whole(path):
    """Compares a file with what was sent."""
    at = 0
    with open(path, "rb") as file:
        while data := file.read(MIB):
            for n in range(0, len(data), CHUNK):
                piece = data[n : n + CHUNK]
                if piece != part(at + n, at + n + len(piece)):
                    return False
            at += len(data)
    return True


def run(argv, urls, sizes):
    """Runs a program in an empty directory, and returns its seconds, or what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "urls").write_text("".join(f"{url}\n" for url in urls))
        began = time.monotonic()
        done = subprocess.run(argv, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        took = time.monotonic() - began
        # By size, since each program has names of its own; other files are journals and lists.
        saved = [path for path in directory.rglob("*") if path.is_file()]
        saved = [path for path in saved if path.stat().st_size in set(sizes)]
        if done.returncode or sorted(path.stat().st_size for path in saved) != sorted(sizes):
            return f"exit {done.returncode}, {len(saved)} of {len(sizes)} bodies"
        if not all(map(is_whole, saved)):
            return "wrong bytes"
        return took


def row(results):
    wrong = [result for result in results if isinstance(result, str)]
    if wrong:
        return wrong[0]
    return f"{statistics.median(results):.1f} ({min(results):.1f}–{max(results):.1f})"


def main():
    context = multiprocessing.get_context("fork")
    print("| work | program | seconds |\n|---|---|--:|")
    for server, each, total in (
        ("5 MB/s for each connection", 5e6, None),
        ("50 MB/s in all", None, 50e6),
    ):
        port_of = context.Queue()
        process = context.Process(target=serve, args=(port_of, each, total), daemon=True)
        process.start()
        site = f"http://127.0.0.1:{port_of.get()}"
        small = [f"{site}/{SMALL}/{n}" for n in range(1000)]
        large = [f"{site}/{LARGE}/large{n}" for n in range(3)]
        for work, urls, sizes in (
            ("1 GiB", [f"{site}/{HUGE}/huge"], [HUGE]),
            ("the list", small + large, [SMALL] * len(small) + [LARGE] * len(large)),
        ):
            programs = commands(len(urls) > 1, each)
            results = {name: [] for name in programs}
            for _ in range(ROUNDS):
                for name, argv in programs.items():
                    results[name].append(run(argv, urls, sizes))
                    print(f"{work}, {server}: {name}: {results[name][-1]}", file=sys.stderr)
            for name, seconds in results.items():
                print(f"| {work}, {server} | {name} | {row(seconds)} |", flush=True)
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
