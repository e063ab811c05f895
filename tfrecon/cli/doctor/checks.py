"""What `doctor` looks at: versions, devices, memory, disk, and the traps of an environment that has grown old."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from ...downloads import cache_folder
from ...errors import ResourceError
from ..process import PACKAGES, version_of

_GIB = 2**30
_EXTRAS = ("kagglehub", "huggingface_hub", "pydicom", "nibabel", "torch", "sigpy", "tf2onnx", "onnxruntime", "tensorboard")
_LITTLE_DISK, _LITTLE_MEMORY = 2 * _GIB, 4 * _GIB
_NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"))


@dataclass(frozen=True)
class Finding:
    """One thing to know and what to do about it; `broken`: it keeps tfrecon from working as it should."""

    text: str
    broken: bool


def findings() -> tuple[dict[str, str], list[Finding]]:
    """(facts by name, what is wrong or worth knowing)."""
    import tensorflow as tf

    from ...machine import free_memory

    gpus, tpus = (tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU"))
    free, disk = free_memory(), shutil.disk_usage(os.getcwd()).free
    facts = {
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {version_of(name)}" for name in ("tfrecon", *PACKAGES)),
        "extras": ", ".join(f"{n} {version_of(n)}" for n in _EXTRAS if version_of(n) != "not installed") or "none",
        "devices": ", ".join(_described(tf, device) for device in (*gpus, *tpus)) or f"CPU, {_processors()} cores",
        "memory": "unknown" if free is None else f"{free / _GIB:.1f} GiB free",
        "disk": f"{disk / _GIB:.1f} GiB free here",
        "cache": str(_cache()),
    }
    found = [*_legacy(), *_accelerators(tf, gpus), *_room(free, disk), *_places()]
    return facts, found


def _described(tf: Any, device: Any) -> str:
    details = tf.config.experimental.get_device_details(device)
    capability = details.get("compute_capability")
    half = ", mixed_float16 pays" if capability and capability >= (7, 0) else ""
    return f"{details.get('device_name', device.name)} ({device.device_type}{half})"


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache() -> Path:
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))


def _legacy() -> list[Finding]:
    found = []
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() not in ("", "0", "false"):
        found.append(Finding("TF_USE_LEGACY_KERAS is set: tf.keras is Keras 2 then, and tfrecon is Keras 3. Unset it.", True))
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        found.append(Finding(f"KERAS_BACKEND is {backend}: tfrecon trains and reads data with tensorflow, and only reconstructs "
                             "with jax. Unset it for the rest.", backend != "jax"))
    for package, least in _wanted().items():
        version = version_of(package)
        if _numbers(version) < _numbers(least):
            found.append(Finding(f"{package} is {version}, tfrecon needs {least} or newer. pip install --upgrade {package}, best "
                                 "in a new environment.", True))
    if importlib.util.find_spec("tensorflow_addons"):
        found.append(Finding("tensorflow-addons is installed; it ended with TensorFlow 2.15 and cannot be imported beside Keras "
                             "3. tfrecon does not need it: pip uninstall tensorflow-addons.", False))
    return found


def _wanted() -> dict[str, str]:
    """The least versions of what tfrecon computes with, as it was installed."""
    with suppress(PackageNotFoundError):
        matches = (re.match(r"(tensorflow|keras)>=([0-9.]+)", line) for line in requires("tfrecon") or ())
        return {match[1]: match[2] for match in matches if match}
    return {}


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; none of what is not installed."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2])


def unused_accelerators() -> list[str]:
    """What is said of a GPU or TPU that TensorFlow does not see, for those who are about to wait for the CPU."""
    import tensorflow as tf

    return [finding.text for finding in _accelerators(tf, tf.config.list_physical_devices("GPU"))]


def _accelerators(tf: Any, gpus: list) -> list[Finding]:
    there = any(path.exists() for path in _NVIDIA) or shutil.which("nvidia-smi")
    if there and not gpus:
        why = "it was built without CUDA" if not tf.test.is_built_with_cuda() else "its CUDA libraries are missing or hidden"
        return [Finding(f"an NVIDIA GPU is here and TensorFlow does not see it ({why}): everything would run on the CPU. "
                        'pip install "tensorflow[and-cuda]", and look at CUDA_VISIBLE_DEVICES.', True)]
    if any(os.environ.get(name) for name in ("COLAB_TPU_ADDR", "TPU_NAME")) and not tf.config.list_physical_devices("TPU"):
        return [Finding("a TPU is announced and TensorFlow does not see it (Colab's TPU image has none since "
                        "2025): take a GPU.", True)]
    return []


def _room(free: int | None, disk: int) -> list[Finding]:
    found = []
    if free is not None and free < _LITTLE_MEMORY:
        found.append(Finding(f"only {free / _GIB:.1f} GiB of memory are free: take --batch-size 1 and small presets.", False))
    if disk < _LITTLE_DISK:
        found.append(Finding(f"only {disk / _GIB:.1f} GiB of disk are free here: checkpoints and results may not fit.", False))
    shared = Path("/dev/shm")
    if platform.system() == "Linux" and not shared.is_dir():
        found.append(Finding("there is no /dev/shm: PyTorch's loaders beside tfrecon may fail; tfrecon does not use it.", False))
    return found


def _places() -> list[Finding]:
    found = []
    places = [("the folder for temporary files", Path(tempfile.gettempdir()), "set TMPDIR"),
              ("Keras' cache", _cache(), "set KERAS_HOME to a folder that can be written to")]
    try:
        places.append(("the cache of weights", cache_folder(), "set TFRECON_CACHE to a folder that can be written to"))
    except ResourceError as error:  # there is no home
        found.append(Finding(str(error), False))
    for what, path, remedy in places:
        nearest = next((p for p in (path, *path.parents) if p.exists()), path)
        if not os.access(nearest, os.W_OK | os.X_OK):
            found.append(Finding(f"{what} ({path}) cannot be written to: {remedy}.", False))
    return found
