#!/usr/bin/env python3
"""Fetches millions of URLs by four shards on this machine, and counts every line of the result.

    cargo build --release
    benches/shards.py 10000000

Half of the URLs are at hosts that nginx serves, half at hosts that refuse connections. One shard
is killed half-way and run again; then the journals are counted and merged. Needs nginx with
stub_status and Python 3 (Debian: apt-get install nginx-light python3), and 0.5 KB of disk for
each URL.
FETCHALL names another program than target/release/fetchall. Exits with 1 when anything does not
add up.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PROGRAM = os.environ.get("FETCHALL") or str(
    Path(__file__).resolve().parent.parent / "target/release/fetchall"
)
SHARDS, KILLED, HOSTS = 4, 2, 1000

CONFIG = """
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "page\\n"; }}
        location /counts {{ stub_status; }}
    }}
}}
"""


def free_and_closed():
    """A port for nginx, and one that nothing listens at as long as its socket is open."""
    closed, opened = socket.socket(), socket.socket()
    closed.bind(("127.0.0.1", 0))
    opened.bind(("127.0.0.1", 0))
    port = opened.getsockname()[1]
    opened.close()
    return port, closed


def write_list(path, count, port, closed_port):
    with open(path, "w", encoding="utf-8") as out:
        for n in range(count):
            host = n % HOSTS
            out.write(f"http://h{host}.test:{closed_port if host % 2 else port}/{n}\n")


def requests(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/counts") as answer:
        return int(re.findall(rb"\d+", answer.read())[3])


class Shard(threading.Thread):
    """Runs a shard to its end, and once more if it is to be killed at a number of records."""

    def __init__(self, folder, index, ports, kill_at=None):
        super().__init__()
        self.journal = folder / f"journal-{index}.jsonl"
        self.log = folder / f"log-{index}.txt"
        self.kill_at = kill_at
        self.command = [PROGRAM, "-q", "--json", "--no-config", "--failures-ok", "--retries", "0"]
        self.command += ["--shard", f"{index}/{SHARDS}", "--journal", self.journal]
        rules = (f"*:{port}:127.0.0.1" for port in ports)
        self.command += [word for rule in rules for word in ("--resolve", rule)]
        self.command += [folder / "urls.txt"]
        self.codes, self.cpu_s, self.peak_kib = [], 0.0, 0

    def run(self):
        if self.kill_at:
            self.run_once(self.kill_at)
        self.run_once(None)

    def run_once(self, kill_at):
        with self.log.open("ab") as log:
            child = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log)
        while kill_at and child.poll() is None:
            time.sleep(0.05)
            # The size says it without reading; a record has some 300 bytes.
            if self.journal.exists() and self.journal.stat().st_size > kill_at * 300:
                child.send_signal(signal.SIGKILL)
                break
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.codes.append(child.returncode)
        self.cpu_s += usage.ru_utime + usage.ru_stime
        self.peak_kib = max(self.peak_kib, usage.ru_maxrss)


def counted(folder, count):
    """Counts lines by their last record, and the records that a later one replaced."""
    results, again = [None] * count, 0
    for index in range(SHARDS):
        for line in (folder / f"journal-{index}.jsonl").open():
            record = json.loads(line)
            if "url" in record:
                again += results[record["line"] - 1] is not None
                results[record["line"] - 1] = record.get("status") or record["error"]["kind"]
    return {result: results.count(result) for result in set(results)}, again


def merged(folder):
    """Merges the journals; gives the exit code, and the number of records."""
    journals = [folder / f"journal-{index}.jsonl" for index in range(SHARDS)]
    command = [PROGRAM, "--failures-ok", "--merge", *journals]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        records = sum(1 for _ in child.stdout)
    return child.returncode, records


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, closed = free_and_closed()
        ports = [port, closed.getsockname()[1]]
        (folder / "nginx.conf").write_text(CONFIG.format(dir=folder, port=port))
        write_list(folder / "urls.txt", count, *ports)
        nginx = subprocess.Popen(["nginx", "-c", folder / "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                time.sleep(0.05)
                if (folder / "nginx.pid").exists():
                    break
            start = time.monotonic()
            half = count // SHARDS // 2
            shards = [Shard(folder, i, ports, half if i == KILLED else None) for i in range(SHARDS)]
            for shard in shards:
                shard.start()
            for shard in shards:
                shard.join()
            wall_s, asked = time.monotonic() - start, requests(port)
        finally:
            nginx.terminate()
            nginx.wait()
        counts, again = counted(folder, count)
        start = time.monotonic()
        merge = merged(folder)
        merge_s = time.monotonic() - start
        journals = sum((folder / f"journal-{i}.jsonl").stat().st_size for i in range(SHARDS))
    codes = [shard.codes for shard in shards]
    cpu_us = sum(shard.cpu_s for shard in shards) / count * 1e6
    peak_mib = max(shard.peak_kib for shard in shards) / 1024
    print(f"URLs {count}, lines by result {counts}, failed again after the kill {again}")
    print(f"requests at nginx {asked}, exit codes {codes}")
    print(f"wall {wall_s:.0f} s, CPU per URL {cpu_us:.1f} us, peak {peak_mib:.0f} MiB a shard")
    print(f"journals {journals / count:.0f} bytes a URL; {merge[1]} merged in {merge_s:.0f} s")
    expected = {200: count // 2, "refused": count - count // 2}
    ended = all(each[-1] == 0 for each in codes) and codes[KILLED][0] == -signal.SIGKILL
    sound = counts == expected and asked <= 1.1 * expected[200] and ended and merge == (0, count)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
