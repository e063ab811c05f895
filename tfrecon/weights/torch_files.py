"""PyTorch's own files, read with PyTorch's reader that builds tensors and nothing else (extra `torch`)."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import WeightsError, shown

# Older ones can be made to run code even by weights_only=True (CVE-2025-32434).
_SAFE_TORCH = (2, 6)
_DEEPEST = 3


def read_torch(
    path: str, fits: Callable[[Mapping[str, Any]], bool], key: str | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The state dict in a `.pth`, `.pt` or `.ckpt` file as arrays, and what was done to get at it.

    Args:
        path: the file.
        fits: whether names of arrays belong to the network asked for; decides where a file holds several state dicts.
        key: the state dict to take; None where there is but one.

    Raises:
        WeightsError: torch is missing or too old, the file holds more than tensors or is damaged, or it is open which
            state dict is meant.
    """
    content = _load(path)
    found = state_dicts(content)
    chosen = choose(path, found, fits, key)
    notes = [f"taken from the key {chosen!r}"] if chosen else []
    limit = os.path.getsize(path)
    return {name: _array(path, name, tensor, limit) for name, tensor in found[chosen].items()}, notes


def torch_table(path: str) -> list[tuple[str, tuple[int, ...], str]]:
    """(name, shape, type) of the tensors in all state dicts of a file, the key that leads to each in front."""
    return [(f"{key}: {name}" if key else name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
            for key, tensors in state_dicts(_load(path)).items() for name, tensor in tensors.items()]


def state_dicts(content: Any, prefix: str = "", depth: int = _DEEPEST) -> dict[str, dict[str, Any]]:
    """The dictionaries of tensors in a checkpoint by the keys that lead there ("state_dict", "models.generator").

    What lies beside them (epoch, arguments, an optimizer's numbered state) is left out.
    """
    if not isinstance(content, Mapping):
        return {}
    tensors = {str(name): value for name, value in content.items() if hasattr(value, "shape") and hasattr(value, "dtype")}
    if any(re.search(r"\D", name) for name in tensors):
        return {prefix: tensors}
    found: dict[str, dict[str, Any]] = {}
    for name, value in content.items() if depth else ():
        if "optim" not in str(name).lower():
            found |= state_dicts(value, f"{prefix}.{name}" if prefix else str(name), depth - 1)
    return found


def choose(path: str, found: Mapping[str, Any], fits: Callable[[Mapping[str, Any]], bool], key: str | None) -> str:
    """The one key that is meant; WeightsError with the choices where that cannot be told."""
    if key is not None and key in found:
        return key
    if not found:
        raise WeightsError(f"{shown(path)}: a PyTorch file without a dictionary of tensors. Give one saved as "
                           "torch.save(model.state_dict(), path).")
    candidates = [k for k in found if fits(found[k])] or list(found)
    if key is None and len(candidates) == 1:
        return candidates[0]
    listed = ", ".join(repr(k) for k in candidates)
    asked = "several state dicts could be meant" if key is None else f"there is no state dict under {key!r}"
    raise WeightsError(f"{shown(path)}: {asked}; it holds {listed}. Name one with key=... (--key on the command line).")


def _load(path: str) -> Any:
    torch = _torch(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storages PyTorch itself uses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever the bytes make it trip over
        raise _refused(path, error) from error


def _refused(path: str, error: Exception) -> WeightsError:
    """One sentence; PyTorch's own advice, to load it all the same, is not passed on."""
    text = str(error)
    foreign = re.search(r"GLOBAL ([\w.]+)", text)
    if foreign:
        return WeightsError(f"{shown(path)}: holds more than tensors ({foreign[1]}), and unpickling that could run code, so "
                            "it is refused. Ask for torch.save(model.state_dict(), path) or a .safetensors file.")
    first = (text.strip().splitlines() or [type(error).__name__])[0][:200]
    reason = "not a plain state dict" if "weights_only" in text else first
    return WeightsError(f"{shown(path)}: PyTorch cannot read it safely ({reason}); it is truncated, damaged or of another "
                        "kind. Get it from its source again, or ask for torch.save(model.state_dict(), path).")


def _torch(path: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{shown(path)}: a PyTorch file, which needs PyTorch to be read: pip install \"tfrecon[torch]\". Without it, "
            "give a mapping from the state dict's names to NumPy arrays, or a .safetensors file."
        ) from error
    version = tuple(int(n) for n in re.findall(r"\d+", torch.__version__)[:2])
    if version < _SAFE_TORCH:
        raise WeightsError(f"{shown(path)}: PyTorch {torch.__version__} can be made to run code by such files "
                           "(CVE-2025-32434). pip install \"torch>=2.6\".")
    return torch


def _array(path: str, name: str, tensor: Any, limit: int) -> np.ndarray:
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise WeightsError(f"{shown(path)}: {name} is a sparse, quantized or complex tensor; expected plain numbers. Save "
                           "it again with .to_dense() or .dequantize().")
    if tensor.numel() * tensor.element_size() > limit:  # a tensor can repeat one stored number without end
        raise WeightsError(f"{shown(path)}: {name} {tuple(tensor.shape)} is larger than the whole file, which is damaged or "
                           "hostile; get it from its source.")
    # NumPy has no bfloat16; float32 holds every half-precision number.
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    return tensor.detach().to(torch.float32 if half else tensor.dtype).numpy()
