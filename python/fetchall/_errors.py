"""What a run ends with, if not with a record for every URL."""

from __future__ import annotations

USAGE, RUN_FAILED, LEFT = 2, 3, 1


class FetchallError(Exception):
    """A run that did not end as it should. A URL that failed is no error, but a record."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message, exit_code)
        self.message = message
        #: That of the program; negative if a signal killed it.
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.message


class UsageError(FetchallError):
    """An option is unknown or has an invalid value, or a file cannot be read (exit code 2)."""


class RunFailed(FetchallError):
    """The run itself broke, as by a full disk (exit code 3)."""


class LinesLeft(FetchallError):
    """URLs were left without a record, as after `stop_after` (exit code 1)."""


class Interrupted(FetchallError):
    """A signal ended the program before it was done."""


def error_of(exit_code: int, said: str) -> FetchallError:
    """The exception for an exit code other than 0, with what the program wrote to stderr."""
    if exit_code == USAGE:
        return UsageError(said or "invalid usage", exit_code)
    if exit_code == RUN_FAILED:
        return RunFailed(said or "the run failed", exit_code)
    if exit_code == LEFT:
        return LinesLeft(said or "the run ended before all URLs were fetched", exit_code)
    return Interrupted(said or f"fetchall was interrupted (exit code {exit_code})", exit_code)
