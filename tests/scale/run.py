#!/usr/bin/env python3
"""Runs the recipes of docs/scale.md as they stand, with processes killed half-way.

    tests/scale/run.py FETCHALL [SCENARIO]...

.ci/scale installs what this needs. Each scenario fetches 20,000 URLs of 40 hosts on loopback
addresses, 200 of them missing, and checks that every URL has one record, how many requests the
hosts got, and that none got more of them at once than its limit. Every process that is ended
here was started here.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import engines
import shards
from support import Bench, Failed, Site

SCENARIOS = {
    "spark": engines.spark,
    "spark-pipe": engines.spark_pipe,
    "ray-data": engines.ray_data,
    "ray-tasks": engines.ray_tasks,
    "slurm": shards.slurm,
    "kubernetes": shards.kubernetes,
    "batch": shards.batch,
    "parallel": shards.parallel,
}


def main(program, *names):
    passed, failed = 0, 0
    # The name is short, because Ray keeps sockets below it.
    place = tempfile.TemporaryDirectory(prefix="fs-", ignore_cleanup_errors=True)
    with place as name, Site() as site:
        directory = Path(name)
        # A copy tells the processes of this run from those of others.
        (directory / "bin").mkdir()
        copy = directory / "bin/fetchall"
        shutil.copy(program, copy)
        bench = Bench(site, copy, directory)
        try:
            for scenario in names or SCENARIOS:
                start = time.monotonic()
                try:
                    for label, result in SCENARIOS[scenario](bench):
                        seconds, start = time.monotonic() - start, time.monotonic()
                        print(f"ok {label}: {result} ({seconds:.0f} s)", flush=True)
                        passed += 1
                except (Failed, subprocess.SubprocessError) as error:
                    print(f"FAILED {scenario}: {error}", flush=True)
                    failed += 1
                    bench.end_all()
        finally:
            bench.end_all()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
