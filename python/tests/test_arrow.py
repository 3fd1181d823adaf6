from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fetchall
import pytest
from fetchall import arrow

pa = pytest.importorskip("pyarrow")


def test_a_table_of_urls_becomes_a_table_of_records(site: str) -> None:
    urls = [f"{site}/{n}" for n in range(2500)] + [f"{site}/gone"]
    table = fetchall.fetch_arrow(pa.table({"url": urls, "id": range(2501)}), retries=0)
    assert table.schema == arrow.schema()
    rows = table.to_pylist()
    assert sorted(row["url"] for row in rows) == sorted(urls)
    assert [row["url"] for row in rows if not row["ok"]] == [f"{site}/gone"]
    assert '"columns":{"id":' in rows[0]["record"]


@pytest.mark.parametrize("urls", [[], ["/a"], ["/a", "/b"]])
def test_a_batch_stays_a_batch(site: str, urls: list[str]) -> None:
    batch = pa.RecordBatch.from_pydict({"url": pa.array([site + url for url in urls], pa.string())})
    records = fetchall.fetch_arrow(batch, ordered=True)
    assert isinstance(records, pa.RecordBatch)
    assert records.schema == arrow.schema()
    assert records["url"].to_pylist() == [site + url for url in urls]


def test_batches_are_read_as_they_are_needed(site: str) -> None:
    def source() -> Iterator[Any]:
        for n in range(3):
            yield pa.RecordBatch.from_pydict({"url": [f"{site}/{n}/{m}" for m in range(10)]})

    got = pa.Table.from_batches(fetchall.fetch_batches(source()))
    assert got.num_rows == 30 and all(got["ok"].to_pylist())


def test_a_run_that_breaks_is_an_error() -> None:
    with pytest.raises(fetchall.UsageError):
        fetchall.fetch_arrow(pa.table({"url": ["http://127.0.0.1:1/"]}), per_host="many")
