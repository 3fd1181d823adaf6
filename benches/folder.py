#!/usr/bin/env python3
"""Serves a folder with nginx, fetches every file of it, and checks every byte count.

    cargo build --release
    benches/folder.py "$(rustc --print sysroot)/share/doc/rust/html"

Needs nginx and Python 3 (Debian: apt-get install nginx-light python3). What follows the
folder goes to fetchall as it is. Exits with 1 when anything does not add up.
"""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

PROGRAM = Path(__file__).resolve().parent.parent / "target/release/fetchall"

CONFIG = """
daemon off;
user {user};
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root "{root}";
        index no-index-page;
        location / {{ }}
    }}
}}
"""


def files_below(root):
    """Every regular file below root with its size, in a stable order."""
    found = {}
    for folder, _, names in sorted(os.walk(root)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                found[os.path.relpath(path, root)] = os.path.getsize(path)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("nginx does not answer")


def fetch(list_file, records_file, extra):
    """Runs fetchall; gives its wall and CPU seconds, peak KiB, and exit code."""
    start = time.monotonic()
    with open(records_file, "wb") as out:
        child = subprocess.Popen([PROGRAM, "--json", "--no-config", *extra, list_file], stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    return wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss, child.returncode


def check(records_file, expected):
    """Compares every record with its file; gives (records, failures, wrong, bytes)."""
    seen, failures, wrong, total = set(), 0, 0, 0
    with open(records_file, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            path = urllib.parse.unquote(urllib.parse.urlsplit(record["url"]).path)[1:]
            if not record["ok"]:
                failures += 1
                print(f"failed: {path}: {record['error']['message']}")
            elif record["bytes"] != expected.get(path) or path in seen:
                wrong += 1
                print(f"wrong: {path}: {record['bytes']} bytes, the file has {expected.get(path)}")
            else:
                total += record["bytes"]
            seen.add(path)
    missing = len(expected.keys() - seen)
    return len(seen), failures, wrong + missing, total


def main():
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    root, extra = os.path.abspath(sys.argv[1]), sys.argv[2:]
    expected = files_below(root)
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = os.path.join(folder, "nginx.conf")
        user = "root" if os.getuid() == 0 else "nobody"
        Path(config).write_text(CONFIG.format(dir=folder, port=port, root=root, user=user))
        urls = os.path.join(folder, "urls.txt")
        with open(urls, "w", encoding="utf-8") as out:
            for path in expected:
                out.write(f"http://127.0.0.1:{port}/{urllib.parse.quote(path)}\n")
        server = subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            records = os.path.join(folder, "records.jsonl")
            wall, user_s, sys_s, peak, code = fetch(urls, records, extra)
            count, failures, wrong, total = check(records, expected)
        finally:
            server.terminate()
            server.wait()
    on_disk = sum(expected.values())
    print(f"URLs {len(expected)}, records {count}, failures {failures}, wrong sizes {wrong}")
    print(f"bytes received {total}, bytes on disk {on_disk}")
    print(f"wall {wall:.2f} s, CPU {user_s + sys_s:.2f} s (user {user_s:.2f}, sys {sys_s:.2f})")
    cpu_us = (user_s + sys_s) / max(len(expected), 1) * 1e6
    print(f"CPU per URL {cpu_us:.0f} us, peak memory {peak / 1024:.1f} MiB, exit code {code}")
    sound = count == len(expected) and not failures and not wrong and total == on_disk and code == 0
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
