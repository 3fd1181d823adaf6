from __future__ import annotations

import gc
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import fetchall
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def process_of(records: fetchall.Records) -> subprocess.Popen[bytes]:
    return records._lines._process


def test_every_url_has_a_record(site: str) -> None:
    urls = [f"{site}/{n}" for n in range(200)] + [f"{site}/gone", "no url"]
    records = list(fetchall.run(urls, per_host=20, retries=0))
    assert sorted(record["url"] for record in records) == sorted(urls)
    failed = {record["url"]: record["error"] for record in records if not record["ok"]}
    assert {url: error["kind"] for url, error in failed.items()} == {
        f"{site}/gone": "status",
        "no url": "invalid_url",
    }


def test_rows_have_options_and_columns(site: str) -> None:
    rows = [
        {"url": f"{site}/a", "size": 7, "id": 1, "score": float("nan"), "note": "é"},
        {"url": f"{site}/b", "size": 999, "id": 2, "day": timedelta(days=1)},
    ]
    a, b = fetchall.run(rows, ordered=True)
    assert a["ok"] and a["columns"] == {"size": 7, "id": 1, "note": "é"}
    assert b["error"]["kind"] == "checksum"
    assert b["columns"] == {"size": 999, "id": 2, "day": "1 day, 0:00:00"}


def test_a_record_comes_before_the_next_url_is_asked_for(site: str) -> None:
    seen: queue.Queue[str] = queue.Queue()

    def follow() -> Iterator[str]:
        yield f"{site}/1"
        yield seen.get(timeout=10).removesuffix("1") + "2"

    urls = []
    for record in fetchall.run(follow()):
        urls.append(record["url"])
        seen.put(record["url"])
    assert urls == [f"{site}/1", f"{site}/2"]


def test_an_endless_source_is_read_only_as_far_as_needed(site: str) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"{site}/{taken}"

    with fetchall.run(endless(), look_ahead=100) as records:
        for _ in range(50):
            next(records)
        # The rest is what the pipes hold, when the records are not read.
        before = -1
        while before != taken:
            before = taken
            time.sleep(0.5)
        assert taken < 10_000
    assert list(records) == []


def test_options(site: str, tmp_path: Path) -> None:
    records = fetchall.run(
        [f"{site}/a"],
        output_dir=tmp_path / "pages",
        max_time=timedelta(seconds=5),
        header=["A: 1", "B: 2"],
        http1_1=True,
        netrc=False,
        rate=None,
        sha256=True,
    )
    [record] = records
    assert (tmp_path / "pages" / record["file"]).read_text() == "page /a"
    assert len(record["sha256"]) == 64
    with pytest.raises(TypeError, match="csv, json: not an option"):
        fetchall.run([], json=False, csv=True)


def test_a_usage_error_has_its_own_exception() -> None:
    with pytest.raises(fetchall.UsageError, match="--per-host") as raised:
        list(fetchall.run(["http://127.0.0.1:1/"], per_host="many"))
    assert raised.value.exit_code == 2
    with pytest.raises(fetchall.UsageError, match="--no-such-option"):
        next(fetchall.run([], no_such_option=True))


def test_a_broken_run_has_its_own_exception() -> None:
    with pytest.raises(fetchall.RunFailed, match="No space left") as raised:
        list(fetchall.run(["no url"], failed="/dev/full"))
    assert raised.value.exit_code == 3


def test_lines_that_were_left_are_an_error(site: str) -> None:
    records = fetchall.run([f"{site}/gone?{n}" for n in range(500)], max_failures=1, retries=0)
    got: list[fetchall.Record] = []
    with pytest.raises(fetchall.LinesLeft):
        got.extend(records)
    assert list(records) == []


def test_a_program_that_was_killed_is_an_error(site: str) -> None:
    def forever() -> Iterator[str]:
        yield f"{site}/a"
        threading.Event().wait(30)

    records = fetchall.run(forever())
    next(records)
    process_of(records).send_signal(signal.SIGKILL)
    with pytest.raises(fetchall.Interrupted) as raised:
        next(records)
    assert raised.value.exit_code == -signal.SIGKILL


def test_an_error_of_the_source_comes_after_its_records(site: str) -> None:
    def broken() -> Iterator[str]:
        yield f"{site}/a"
        raise BrokenPipeError("the source")

    records = fetchall.run(broken())
    assert next(records)["ok"]
    with pytest.raises(BrokenPipeError, match="the source"):
        next(records)
    with pytest.raises(TypeError, match="not int"):
        list(fetchall.run(typing.cast("list[str]", [1])))


@pytest.mark.parametrize("way", ["close", "with", "drop", "interrupt"])
def test_the_program_ends_with_the_iterator(site: str, way: str) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield f"{site}/hang"

    records = fetchall.run(endless())
    process = process_of(records)
    if way == "close":
        records.close()
    elif way == "with":
        with records:
            pass
    elif way == "interrupt":
        # A shell starts its background jobs with the signal ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            next(records)
        signal.signal(signal.SIGINT, before)
    else:
        del records
        gc.collect()
    assert process.poll() is not None


def test_the_interpreter_exits_though_the_source_blocks(site: str) -> None:
    script = f"""
import threading, fetchall
def source():
    yield "{site}/a"
    threading.Event().wait()
records = fetchall.run(source())
assert next(records)["ok"]
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=30, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_progress_is_plain_lines(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    list(fetchall.run([f"{site}/a", f"{site}/gone"], progress=True, retries=0))
    said = capsys.readouterr().err
    assert "2 URLs: 1 fetched, 1 failed\n" in said
    assert "\r" not in said and "\x1b" not in said


def test_records_have_the_documented_fields(site: str) -> None:
    table = (REPOSITORY / "docs/results.md").read_text().split("## What is in a record?")[1]
    rows = re.findall(r"^\| (`[^|]*) \|", table.split("\n## ")[0], re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(typing.get_type_hints(fetchall.Record))
    for record in fetchall.run([f"{site}/a", "nonsense"], body=True):
        assert record.keys() <= documented
        json.dumps(record)
