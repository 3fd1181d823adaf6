"""For Ray Data, with one run for each block."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ._program import Option
from .arrow import fetch_arrow

_HOST = "fetchall_host"


def fetch(dataset: Any, blocks: int, **options: Option) -> Any:
    """Fetches the column `url` of a Dataset, and returns a Dataset of records.

    As `fetchall.spark.fetch`. A block is in memory as a whole, with its records: some 1 KB for
    each URL.
    """

    def task(table: Any) -> Any:
        return fetch_arrow(table.drop_columns([_HOST]), **options)

    # All URLs of a host in one block, so that one run keeps the limits of the host.
    lists = dataset.map(_with_host).repartition(blocks, keys=[_HOST])
    # Ray itself repeats what a lost worker did, but an exception only if it is told to.
    return lists.map_batches(
        task, batch_size=None, batch_format="pyarrow", max_retries=3, retry_exceptions=True
    )


def _with_host(row: dict[str, Any]) -> dict[str, Any]:
    try:
        return row | {_HOST: urlsplit(row["url"]).hostname or ""}
    except ValueError:
        return row | {_HOST: ""}
