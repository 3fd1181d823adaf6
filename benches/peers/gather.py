"""What is written in Python: aiohttp on uvloop, asyncio.gather over all URLs, a JSON line each."""

import asyncio
import json
import sys

import aiohttp
import uvloop


async def fetch(session, url):
    async with session.get(url, allow_redirects=False) as response:
        body = await response.read()
        ok = response.status == 200
        print(json.dumps({"url": url, "ok": ok, "bytes": len(body)}, separators=(",", ":")))


async def main(list_file, concurrency):
    with open(list_file, encoding="utf-8") as lines:
        urls = lines.read().split()
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(fetch(session, url) for url in urls))


uvloop.run(main(sys.argv[2], int(sys.argv[1])))
