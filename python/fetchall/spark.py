"""For Spark, with one run for each partition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._program import Option
from .arrow import SCHEMA, fetch_batches


def fetch(frame: Any, partitions: int, **options: Option) -> Any:
    """Fetches the column `url` of a DataFrame, and returns a DataFrame of records.

    Its other columns become `columns` of the record, or set options of the line if they are named
    like one. `options` are those of `fetchall.run`. Write the result before it is used twice:
    what Spark computes again is fetched again.
    """

    def task(batches: Iterator[Any]) -> Iterator[Any]:
        return fetch_batches(batches, **options)

    return by_host(frame, partitions).mapInArrow(task, SCHEMA)


def by_host(frame: Any, partitions: int) -> Any:
    """All URLs of a host in one partition, so that one run keeps the limits of the host."""
    from pyspark.sql import functions as f

    # parse_url has no host for URLs that it finds malformed, though they can be fetched.
    host = f.lower(f.regexp_extract("url", "://(?:[^/?#]*@)?([^/?#:]*)", 1))
    return frame.repartition(partitions, host)
