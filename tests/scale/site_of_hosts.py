"""A site of many hosts on loopback addresses, which counts what each of them is asked.

    site_of_hosts.py HOSTS

prints its port, and serves /page/N on 127.0.0.10, 127.0.0.11, … until stdin ends. Every
hundredth page is missing. /counts answers with what was counted, and /reset forgets it.
"""

import asyncio
import json
import sys
from collections import Counter

FIRST_ADDRESS = 10
# Long enough for requests to overlap, so that the peaks say something.
PAGE_DELAY_S = 0.004


def address(host):
    return f"127.0.0.{FIRST_ADDRESS + host}"


def is_missing(page):
    return page % 100 == 0


class Counts:
    def __init__(self):
        self.running = Counter()
        self.reset()

    def reset(self):
        self.requests = Counter()
        self.peaks = Counter(self.running)

    def start(self, host):
        self.requests[host] += 1
        self.running[host] += 1
        self.peaks[host] = max(self.peaks[host], self.running[host])

    def end(self, host):
        self.running[host] -= 1

    def json(self):
        return json.dumps(
            {"requests": self.requests, "peaks": self.peaks, "running": self.running.total()}
        )


class Connection(asyncio.Protocol):
    def __init__(self, counts):
        self.counts = counts
        self.received = b""
        self.answer = None

    def connection_made(self, transport):
        self.transport = transport
        self.host = transport.get_extra_info("sockname")[0]

    def data_received(self, data):
        self.received += data
        if b"\r\n\r\n" not in self.received:
            return
        path = self.received.split(b" ", 2)[1].decode()
        self.received = b""
        if path == "/counts":
            self.send("200 OK", self.counts.json())
        elif path == "/reset":
            self.counts.reset()
            self.send("200 OK", "")
        else:
            self.counts.start(self.host)
            page = int(path.rsplit("/", 1)[1])
            status = "404 Not Found" if is_missing(page) else "200 OK"
            loop = asyncio.get_running_loop()
            self.answer = loop.call_later(PAGE_DELAY_S, self.send_page, status)

    def send_page(self, status):
        self.answer = None
        self.counts.end(self.host)
        self.send(status, "<title>page</title>")

    def send(self, status, body):
        self.transport.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def connection_lost(self, error):
        if self.answer:
            self.answer.cancel()
            self.counts.end(self.host)


async def listen(hosts, counts):
    """Listens at one port of all addresses: the system's choice for the first of them."""
    loop = asyncio.get_running_loop()
    servers, port = [], 0
    for host in range(hosts):
        server = await loop.create_server(
            lambda: Connection(counts), address(host), port, backlog=1024
        )
        port = server.sockets[0].getsockname()[1]
        servers.append(server)
    return servers, port


async def main(hosts):
    for _ in range(20):
        try:
            servers, port = await listen(hosts, Counts())
            break
        except OSError:
            continue  # another program has this port at one of the addresses
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
