"""The fields of a record. docs/results.md says what each of them means."""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class RecordError(TypedDict):
    """Why a URL failed."""

    kind: str
    message: str
    transient: bool


class PackPlace(TypedDict, total=False):
    """Where in a pack a response is."""

    n: int
    offset: int
    length: int


class _Always(TypedDict):
    line: int
    input: str
    url: str
    ok: bool
    outcome: Literal["fetched", "failed", "skipped"]


class Record(_Always, total=False):
    """What became of a URL. An absent field is unknown; later versions only add fields."""

    status: int
    error: RecordError
    attempts: int
    resends: int
    final_url: str
    redirects: int
    mirror: int
    http: str
    content_type: str
    etag: str
    last_modified: str
    filename: str
    x_robots_tag: str
    content_usage: str
    tdm_reservation: str
    content_encoding: str
    bytes: int
    columns: dict[str, Any]
    md5: str
    sha1: str
    sha256: str
    sha512: str
    request: str
    file: str
    pack: PackPlace
    pack_end: int
    pack_end_n: int
    adopted: bool
    resumed_at: int
    segments: int
    change: Literal["new", "changed", "unchanged", "gone"]
    at: str
    started_ms: int
    ttfb_ms: int
    elapsed_ms: int
    total_ms: int
    simulated: bool
    body: str
    body_base64: str
