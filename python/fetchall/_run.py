"""The program as a child that is fed with URLs while its records are read."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Union, cast

from ._errors import error_of
from ._program import Option, arguments, program
from ._record import Record

#: A URL, or a URL with options of its own and columns to keep.
Row = Union[str, Mapping[str, Any]]

_SAID_LINES = 20
#: After the second signal, the program closes its files and ends.
_GRACE_S = (0.3, 5.0)


def run(
    urls: Iterable[Row], *, progress: bool = False, keep_columns: str = "*", **options: Option
) -> Records:
    """Fetches `urls` and returns an iterator of their records, in the order in which they settle.

    A URL is a string, or a mapping with `url` and what a line of JSON Lines can have: `method`,
    `headers`, `size`, `sha256` and others. All its entries but `url` come back as `columns`.

    `options` are those of the command line, with underscores: `per_host=4`, `rate="50/s"`,
    `output_dir="pages"`, `max_time=timedelta(seconds=30)`, `header=["A: 1", "B: 2"]`,
    `http1_1=True`. With `progress`, lines about the run appear on `sys.stderr`.

    URLs are taken from the iterable only as fast as they are fetched, by a thread of its own. If
    it raises, the URLs before get their records, and then the iterator raises the same exception.

    Raises `UsageError`, `RunFailed`, `LinesLeft` or `Interrupted` when there are no more records.
    The program ends when the iterator is closed or dropped.
    """
    flags = ["--progress=plain"] if progress else ["--quiet"]
    return Records(urls, [*flags, *arguments({"keep_columns": keep_columns, **options})], progress)


class Records(Iterator[Record]):
    """The records of a run."""

    def __init__(self, urls: Iterable[Row], flags: list[str], progress: bool) -> None:
        self._lines = Lines(urls, flags, progress)

    def __next__(self) -> Record:
        return cast(Record, json.loads(next(self._lines)))

    def close(self) -> None:
        """Ends the program, if it is still running. What it has saved so far is complete."""
        self._lines.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Lines(Iterator[bytes]):
    """The records of a run as lines of JSON."""

    def __init__(self, urls: Iterable[Row], flags: list[str], progress: bool = False) -> None:
        fixed = ["--json", "--failures-ok", "--input-format=jsonl"]
        rows = iter(urls)
        stdin, feed = os.pipe()
        try:
            self._process = subprocess.Popen(
                [program(), *fixed, *flags, "-"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except BaseException:
            os.close(feed)
            raise
        finally:
            os.close(stdin)
        assert self._process.stdout and self._process.stderr
        self._stdout = self._process.stdout
        self._said: deque[str] = deque(maxlen=_SAID_LINES)
        self._failures: list[BaseException] = []
        # Neither thread knows this object, so that it can be dropped while they run. They do not
        # keep the interpreter from exiting: the source of the URLs may block for ever.
        self._feeder = _start(_feed, rows, feed, self._failures)
        echo = sys.stderr if progress else None
        self._listener = _start(_listen, self._process.stderr, self._said, echo)

    def __next__(self) -> bytes:
        try:
            line = b"" if self._stdout.closed else self._stdout.readline()
        except BaseException:  # such as KeyboardInterrupt
            self.close()
            raise
        # A program that was killed may leave a part of a line.
        if line.endswith(b"\n"):
            return line
        self._finish()
        raise StopIteration

    def _finish(self) -> None:
        """Raises what ended the run, once."""
        if self._stdout.closed:
            return
        self._stdout.close()
        exit_code = self._process.wait()
        self._listener.join()
        if exit_code != 0:
            raise error_of(exit_code, "\n".join(self._said))
        self._feeder.join()
        if self._failures:
            raise self._failures.pop()

    def close(self) -> None:
        """Ends the program, if it is still running."""
        self._stdout.close()
        for grace in _GRACE_S:
            # The first signal lets requests in flight end, the second one does not.
            self._process.terminate()
            try:
                self._process.wait(grace)
                return
            except subprocess.TimeoutExpired:
                pass
        self._process.kill()
        self._process.wait()

    def __del__(self) -> None:
        if hasattr(self, "_stdout"):
            self.close()


def _start(target: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, name="fetchall", daemon=True)
    thread.start()
    return thread


def _feed(rows: Iterator[Row], stdin: int, failures: list[BaseException]) -> None:
    """Writes rows as JSON Lines, each at once: the next one may depend on its record."""
    try:
        for row in rows:
            if not _write(stdin, _line(row)):
                break  # The exit code says why the program has ended.
    except BaseException as failure:
        failures.append(failure)
    finally:
        os.close(stdin)


def _write(stdin: int, line: bytes) -> bool:
    """Whether the program was still there to read the line."""
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(stdin, rest) :]
    except BrokenPipeError:
        return False
    return True


def _line(row: Row) -> bytes:
    if isinstance(row, str):
        row = {"url": row}
    elif not isinstance(row, Mapping):
        raise TypeError(f"expected a URL or a mapping with one, not {type(row).__name__}")
    try:
        text = json.dumps(dict(row), default=str, allow_nan=False)
    except ValueError:
        # NaN is what tables have for a missing number, and JSON has no such thing.
        there = {name: value for name, value in row.items() if not _is_nan(value)}
        text = json.dumps(there, default=str, allow_nan=False)
    return text.encode() + b"\n"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _listen(stderr: IO[bytes], said: deque[str], echo: Any) -> None:
    with stderr:
        for line in stderr:
            text = line.decode(errors="replace").rstrip("\n")
            said.append(text.removeprefix("fetchall: "))
            if echo is not None:
                print(text, file=echo)
