"""The site, the list, processes that are killed, and what every scenario checks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import site_of_hosts

HERE = Path(__file__).resolve().parent
RECIPES = HERE.parent.parent / "docs/scale"
URLS, HOSTS, PER_HOST = 20_000, 40, 4
# An engine that hangs is ended after this time.
SCENARIO_TIMEOUT_S = 240


class Failed(Exception):
    """What a scenario found wrong."""


class Site:
    """The hosts, in a process of their own."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "site_of_hosts.py", str(HOSTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def urls(self):
        """Every host has URLs that strict parsers reject, and fetchall and browsers do not."""
        sites = [f"http://{site_of_hosts.address(host)}:{self.port}" for host in range(HOSTS)]
        paths = ["page", "a|b/page"]
        return [f"{sites[n % HOSTS]}/{paths[n // HOSTS % 2]}/{n}" for n in range(URLS)]

    def get(self, path):
        url = f"http://{site_of_hosts.address(0)}:{self.port}/{path}"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
            return answer.read()

    def counts(self):
        return json.loads(self.get("counts"))

    def requests(self):
        return sum(self.counts()["requests"].values())


def processes():
    """The processes of this machine, with their parents."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            yield int(entry.name), int(stat.rpartition(")")[2].split()[1])


def running(program):
    """The processes that run this file, with their parents: one copy per run of the tests."""
    for process, parent in processes():
        try:
            if os.readlink(f"/proc/{process}/exe") == str(program):
                yield process, parent
        except OSError:
            continue  # it has ended meanwhile


def started_by(marker):
    """The processes whose environment has this text, which is that of one run of the tests."""
    for process, _ in processes():
        try:
            if process != os.getpid() and marker in Path(f"/proc/{process}/environ").read_bytes():
                yield process
        except OSError:
            continue


class Killer(threading.Thread):
    """Kills a fetchall, or the process that started it, after each of some numbers of requests."""

    def __init__(self, site, program, kills):
        super().__init__(daemon=True)
        self.site, self.program, self.kills = site, program, list(kills)
        self.ended = threading.Event()

    def run(self):
        while self.kills and not self.ended.wait(0.02):
            after, victim = self.kills[0]
            if self.site.requests() >= after and (found := next(running(self.program), None)):
                os.kill(found[victim == "worker"], signal.SIGKILL)
                self.kills.pop(0)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, failure, *_):
        self.ended.set()
        self.join()
        if self.kills and not failure:
            raise Failed(f"nothing was there to kill: {self.kills}")


class Bench:
    """What scenarios run on: the site, the list, the program, and a directory."""

    def __init__(self, site, program, directory):
        self.site, self.program, self.directory = site, program, directory
        self.list = directory / "urls.txt"
        self.list.write_text("".join(f"{url}\n" for url in site.urls()))
        self.marker = f"FETCHALL_SCALE_RUN={directory}"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FETCHALL_")
        } | {
            "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "PYTHONPATH": str(HERE.parent.parent / "python"),
            "FETCHALL_SCALE_RUN": str(directory),
            "FETCHALL_PER_HOST": str(PER_HOST),
        }

    def killing(self, kills):
        """Counts from here on, and kills in the meantime what is to be killed."""
        self.site.get("reset")
        return Killer(self.site, self.program, kills)

    def run(self, name, command, kills=(), directory=None, **environment):
        """Runs a command to its end, and says what it wrote if that is a failure."""
        log = self.directory / f"{name}.log"
        with self.killing(kills), log.open("wb") as output:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment | environment,
                cwd=directory or self.directory,
                timeout=SCENARIO_TIMEOUT_S,
            ).returncode
            if code != 0:
                raise Failed(f"exit code {code}: {log.read_text(errors='replace')[-3000:]}")

    def check(self, name, records, most_requests):
        """Every URL has one record, as it was served; requests and their peaks are in bounds."""
        records = list(records)
        seen = Counter(record["url"] for record in records)
        urls = set(self.site.urls())
        missing, extra = len(urls - seen.keys()), len(seen.keys() - urls)
        twice = sum(count > 1 for count in seen.values())
        if missing or extra or twice:
            raise Failed(f"{name}: {missing} URLs without a record, {extra} strange, {twice} twice")
        wrong = [r for r in records if r["ok"] == site_of_hosts.is_missing(page(r["url"]))]
        if wrong:
            raise Failed(f"{name}: {len(wrong)} records with a wrong outcome, such as {wrong[0]}")
        counts = self.site.counts()
        requests, peak = sum(counts["requests"].values()), max(counts["peaks"].values())
        if requests > most_requests * URLS:
            raise Failed(f"{name}: {requests} requests for {URLS} URLs")
        if peak > PER_HOST:
            raise Failed(f"{name}: {peak} requests at once to one host; its limit is {PER_HOST}")
        return f"{len(records):,} records, {requests:,} requests, at most {peak} at once to a host"

    def end_all(self):
        """Ends what scenarios have left running."""
        for process in started_by(self.marker.encode()):
            os.kill(process, signal.SIGKILL)


def page(url):
    return int(url.rsplit("/", 1)[1])


def wait_until(what, is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.1)
