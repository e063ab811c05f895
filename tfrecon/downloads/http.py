"""One file by HTTP or HTTPS: bounded in time and size, never from anywhere else than the network."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

_TIMEOUT = 30  # seconds to connect, and between two pieces
_SLOWEST = 20_000  # bytes a second; below it a download is given up
_LARGEST = 2**31  # of files whose size nobody has told
_AGENT = "tfrecon"


class UnfinishedDownload(Exception):
    """Why a download gave no file; for the code that asked, which knows what can be done instead."""


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """urllib also follows to ftp:, and its refusal of file: repeats the whole target."""

    def http_error_302(self, request: Any, stream: Any, code: int, reason: str, headers: Any) -> Any:
        target = urljoin(request.full_url, headers.get("Location") or "")
        if urlsplit(target).scheme not in ("http", "https"):
            stream.close()
            raise UnfinishedDownload("it leads to an address that is not on the network")
        return super().http_error_302(request, stream, code, reason, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def download(url: str, path: Path, size: int | None) -> None:
    """Write what an address gives to `path`.

    Args:
        url: http or https.
        path: is replaced.
        size: of the file if known; more is not read.

    Raises:
        UnfinishedDownload: refused, broken off, too slow, too large, or led away from the network.
        OSError: `path` cannot be written.
    """
    limit = size or _LARGEST
    began = time.monotonic()
    with open(path, "wb") as file, _opened(url) as response:
        declared, received = response.headers.get("Content-Length"), 0
        while block := _block(response):
            received += len(block)
            if received > limit:
                raise UnfinishedDownload(f"more came than the {limit} bytes expected")
            if time.monotonic() - began > _TIMEOUT + received / _SLOWEST:
                raise UnfinishedDownload(f"too slow: {received} bytes in {time.monotonic() - began:.0f} s")
            file.write(block)
    if declared and declared.isdigit() and received < int(declared):
        raise UnfinishedDownload(f"broke off after {received} of {declared} bytes")


def _opened(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
    try:
        return urllib.request.build_opener(_HttpOnly).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise UnfinishedDownload(f"the server says HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnfinishedDownload(_reason(error)) from None


def _block(response: Any) -> bytes:
    try:
        return response.read1(1 << 16)
    except (OSError, http.client.HTTPException) as error:
        raise UnfinishedDownload(_reason(error)) from None


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError) or "timed out" in str(inner):
        return f"no answer within {_TIMEOUT} s"
    return getattr(inner, "strerror", None) or type(inner).__name__
