"""Where the program is, and how it is told what to do."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Union

Scalar = Union[str, int, float, timedelta, "os.PathLike[str]"]
#: A value of an option. `True` is a switch, a sequence repeats the option, and `None` and `False`
#: leave it out.
Option = Union[Scalar, Sequence[Scalar], None]

NAME = "fetchall.exe" if os.name == "nt" else "fetchall"

#: What the records come by, and what puts something else in their place.
RESERVED = frozenset(
    "input_format null json csv format print0 quiet demo dry_run verify merge "
    "split into explain generate print_config help version".split()
)


def program() -> str:
    """The path of the program: that of this installation, or the first one on the PATH."""
    for directory in _script_directories():
        path = os.path.join(directory, NAME)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(NAME)
    if found is None:
        raise FileNotFoundError("the program fetchall is not installed, and not on the PATH")
    return found


def _script_directories() -> Iterator[str]:
    yield sysconfig.get_path("scripts")
    yield sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    # Of `pip install --target`.
    yield os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin")


def arguments(options: Mapping[str, Option]) -> list[str]:
    """Options as the command line has them: `per_host=4` is `--per-host=4`."""
    taken = sorted(RESERVED & options.keys())
    if taken:
        raise TypeError(f"{', '.join(taken)}: not an option of this function")
    return [word for name, value in options.items() for word in _words(name, value)]


def _words(name: str, value: Option) -> Iterator[str]:
    # `http1.1` is no name in Python.
    flag = "--" + name.replace("http1_1", "http1.1").replace("_", "-")
    if value is None or value is False:
        return
    if value is True:
        yield flag
    elif isinstance(value, (str, int, float, timedelta, os.PathLike)):
        yield f"{flag}={_text(value)}"
    else:
        for one in value:
            yield f"{flag}={_text(one)}"


def _text(value: Scalar) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds()}s"
    return os.fsdecode(value) if isinstance(value, os.PathLike) else str(value)
