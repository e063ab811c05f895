"""A file of a repository on the Hugging Face Hub, by huggingface_hub where it is installed."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import WeightsError
from .http import UnfinishedDownload
from .reach import silence

_PATIENCE = 5  # seconds for the first answer


@dataclass(frozen=True)
class HubFile:
    """A file at a commit of a repository of models."""

    repository: str
    file: str
    revision: str

    def __str__(self) -> str:
        return f"hf://{self.repository}/{self.file}@{self.revision}"

    @property
    def page(self) -> str:
        """Where people find it."""
        return f"https://huggingface.co/{self.repository}/blob/{self.revision}/{quote(self.file)}"

    def silence(self) -> str | None:
        """Why it cannot be fetched now; None if it can. WeightsError where the client is not installed."""
        self._client()
        from huggingface_hub import constants

        return silence(constants.ENDPOINT)

    def fetch(self, folder: Path) -> Path:
        """Download into a folder; the client's own cache is left out of it."""
        hub = self._client()
        try:
            with redirect_stdout(sys.stderr):
                return Path(hub.hf_hub_download(self.repository, self.file, revision=self.revision, local_dir=str(folder),
                                                etag_timeout=_PATIENCE))
        except Exception as error:  # the client's kinds differ from version to version
            # Not `from error`: its text can hold a signed address.
            raise UnfinishedDownload(_reason(error)) from None

    def _client(self) -> Any:
        try:
            with redirect_stdout(sys.stderr):
                import huggingface_hub
        except ImportError:
            raise WeightsError(f'{self}: needs huggingface_hub (pip install "tfrecon[hub]"); or download {self.page} and give '
                               "the file.") from None
        return huggingface_hub


def _reason(error: BaseException) -> str:
    inner = error.__cause__ if getattr(error, "response", None) is None and error.__cause__ else error
    status = getattr(getattr(inner, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the Hub refuses it (HTTP {status}): it is private, wants its terms accepted, or does not exist; set HF_TOKEN"
    if status:
        return f"the Hub says HTTP {status}"
    return f"huggingface_hub stopped ({type(inner).__name__})"
