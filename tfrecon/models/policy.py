"""The dtype policy of what is built meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def built_under(policy: Any) -> Iterator[None]:
    """Layers built inside have this dtype policy, a `keras.DTypePolicy` or its name; the former one comes back afterwards."""
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
