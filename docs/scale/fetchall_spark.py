"""Fetches a list of URLs on a Spark cluster, and writes the records as Parquet.

    spark-submit fetchall_spark.py URLS OUT PARTITIONS

URLS has a URL on each line, and no comments.
"""

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pyspark.sql import SparkSession, functions as f

COMMAND = "fetchall -q --json --failures-ok --input-format jsonl --keep-columns *".split()
SCHEMA = "url string, ok boolean, outcome string, status int, bytes bigint, record string"
ARROW = pa.schema(
    [("url", pa.string()), ("ok", pa.bool_()), ("outcome", pa.string())]
    + [("status", pa.int32()), ("bytes", pa.int64()), ("record", pa.string())]
)


def feed(stdin, batches):
    with stdin:
        for row in itertools.chain.from_iterable(batch.to_pylist() for batch in batches):
            stdin.write(json.dumps(row, default=str).encode() + b"\n")


def fetch(batches):
    """For mapInArrow: rows with a url in, records out, with one fetchall for the partition."""
    pipe = subprocess.PIPE
    with ThreadPoolExecutor(1) as pool, subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe) as run:
        fed = pool.submit(feed, run.stdin, batches)
        while lines := list(itertools.islice(run.stdout, 1000)):
            rows = [json.loads(line) | {"record": line.decode()} for line in lines]
            yield pa.RecordBatch.from_pylist(rows, ARROW)
        if run.wait() != 0:
            raise RuntimeError(f"fetchall exited with {run.returncode}")
        fed.result()  # raises if the partition could not be read to its end


if __name__ == "__main__":
    urls, out, partitions = sys.argv[1:]
    spark = SparkSession.builder.appName("fetchall").getOrCreate()
    # All URLs of a host in one partition, so that one fetchall keeps the limits of the host.
    # parse_url has no host for URLs that it finds malformed, though they can be fetched.
    host = f.lower(f.regexp_extract("url", "://(?:[^/?#]*@)?([^/?#:]*)", 1))
    lists = spark.read.text(urls).toDF("url").repartition(int(partitions), host)
    lists.mapInArrow(fetch, SCHEMA).write.parquet(out)
