"""Fetches a list that all nodes can read with plain Ray tasks: one shard each.

    ray job submit -- python fetchall_ray.py URLS OUT SHARDS
"""

import os
import subprocess
import sys

import ray


@ray.remote(max_retries=3, retry_exceptions=True)
def fetch(urls, out, shard):
    """Writes the records of a shard to a file, which is complete or absent."""
    index = shard.split("/")[0]
    part, whole = f"{out}/.part-{index}.{os.getpid()}", f"{out}/part-{index}.jsonl"
    with open(part, "wb") as records:
        command = ["fetchall", "-q", "--json", "--failures-ok", "--shard", shard, urls]
        subprocess.run(command, stdout=records, check=True)
    os.replace(part, whole)
    return whole


if __name__ == "__main__":
    urls, out, shards = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for path in ray.get([fetch.remote(urls, out, f"{i}/{shards}") for i in range(int(shards))]):
        print(path)
