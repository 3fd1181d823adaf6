"""Fetches a list of URLs with Ray Data, and writes the records as Parquet.

    ray job submit -- python fetchall_ray_data.py URLS OUT BLOCKS

URLS has a URL on each line, and no comments.
"""

import json
import subprocess
import sys
from urllib.parse import urlsplit

import pyarrow as pa
import ray

COMMAND = "fetchall -q --json --failures-ok --input-format jsonl --keep-columns *".split()
SCHEMA = pa.schema(
    [("url", pa.string()), ("ok", pa.bool_()), ("outcome", pa.string())]
    + [("status", pa.int32()), ("bytes", pa.int64()), ("record", pa.string())]
)


def host(row):
    try:
        return row | {"host": urlsplit(row["url"]).hostname or ""}
    except ValueError:
        return row | {"host": ""}


def fetch(table):
    """For map_batches: rows with a url in, records out, with one fetchall for the block."""
    rows = "".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist())
    run = subprocess.run(COMMAND, input=rows.encode(), stdout=subprocess.PIPE, check=True)
    records = [json.loads(line) | {"record": line.decode()} for line in run.stdout.splitlines()]
    return pa.Table.from_pylist(records, SCHEMA)


if __name__ == "__main__":
    urls, out, blocks = sys.argv[1:]
    # All URLs of a host in one block, so that one fetchall keeps the limits of the host.
    lists = ray.data.read_text(urls).rename_columns({"text": "url"}).map(host)
    lists = lists.repartition(int(blocks), keys=["host"])
    # Ray itself repeats what a lost worker did, but an exception only if it is told to.
    records = lists.map_batches(
        fetch, batch_size=None, batch_format="pyarrow", max_retries=3, retry_exceptions=True
    )
    records.write_parquet(out)
