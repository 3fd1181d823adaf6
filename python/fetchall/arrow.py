"""Tables of Arrow: rows with a URL in, records out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from ._program import Option, arguments
from ._run import Lines

#: The columns of records, as Spark writes a schema. `record` is the whole record as JSON.
SCHEMA = "url string, ok boolean, outcome string, status int, bytes bigint, record string"

_BATCH_RECORDS = 1000


def schema() -> Any:
    """The columns of records, as a `pyarrow.Schema`."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "bigint": pa.int64(),
    }
    fields = (field.split() for field in SCHEMA.split(", "))
    return pa.schema([(name, types[kind]) for name, kind in fields])


def fetch_batches(batches: Iterable[Any], **options: Option) -> Iterator[Any]:
    """Fetches the URLs of record batches, and yields record batches, with one run for all of them.

    The column `url` has the URLs. The others become `columns` of the record, or set options of the
    line if they are named like one. `options` and exceptions are those of `run`.
    """
    import pyarrow as pa

    rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
    flags = ["--quiet", *arguments({"keep_columns": "*", **options})]
    lines = Lines(rows, flags)
    try:
        while some := list(itertools.islice(lines, _BATCH_RECORDS)):
            records = [json.loads(line) | {"record": line.decode()} for line in some]
            yield pa.RecordBatch.from_pylist(records, schema())
    finally:
        lines.close()


def fetch_arrow(batch: Any, **options: Option) -> Any:
    """Fetches the URLs of a `pyarrow.Table` or `RecordBatch`, and returns their records as the same.

    As `fetch_batches`, for one batch that is in memory with all its records.
    """
    import pyarrow as pa

    table = pa.Table.from_batches(fetch_batches([batch], **options), schema())
    if isinstance(batch, pa.Table):
        return table
    return pa.RecordBatch.from_struct_array(table.to_struct_array().combine_chunks())
