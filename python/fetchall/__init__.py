"""Fetch URLs concurrently, with an exact result for every one of them.

The program of the same name does the work, in a process of its own:

    import fetchall

    for record in fetchall.run(["https://example.com/"], per_host=4):
        print(record["url"], record["ok"], record.get("status"))

`run` takes any iterable, reads it as it goes, and yields a record for each URL as it settles.
`fetch_arrow` does the same for a table of Arrow, and `fetchall.spark` and `fetchall.ray` for
theirs; these want pyarrow.
"""

from ._errors import FetchallError, Interrupted, LinesLeft, RunFailed, UsageError
from ._program import Option, program
from ._record import PackPlace, Record, RecordError
from ._run import Records, run
from .arrow import fetch_arrow, fetch_batches

__all__ = [
    "FetchallError",
    "Interrupted",
    "LinesLeft",
    "Option",
    "PackPlace",
    "Record",
    "RecordError",
    "Records",
    "RunFailed",
    "UsageError",
    "fetch_arrow",
    "fetch_batches",
    "program",
    "run",
]
