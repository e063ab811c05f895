"""What needs TensorFlow, for `fuzzing.py`: weights loaded into a network, a run gone on with, shards. A child imports it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fuzz_mutations
import fuzz_shards
import keras
import numpy as np
from fuzz_looks import SHARDS, TENSORFLOW
from test_legacy import generator
from test_weights_formats import named, write_checkpoint, write_npz, write_safetensors
from weight_files import LEGACY, nested, network, unchanged, values

from tfrecon.training.callbacks import Checkpoint, KeepBest
from tfrecon.weights import load_weights, save_weights

Look = Callable[[Path], object]


Writer = Callable[[str, "np.random.Generator | None", Path], Path]


def ready(names: set[str], files: dict[str, bytes], folder: Path) -> tuple[dict[str, tuple[Look, ...]], Writer]:
    """(looks by name, what writes a mutation of a name); the sound ones of these names were looked at once."""
    sound = folder / "sound"
    sound.mkdir(exist_ok=True)
    _written(sound)
    own = {path.relative_to(sound).as_posix(): path.read_bytes() for path in sorted(sound.rglob("*")) if path.is_file()}
    shards = dict(zip(SHARDS, fuzz_shards.written(files, folder)))
    looks = _looks()

    def mutate(content: bytes, rng: np.random.Generator) -> bytes:
        return fuzz_mutations.mutate(content, own, rng)

    def write(name: str, rng: np.random.Generator | None, folder: Path) -> Path:
        if name in SHARDS:
            return fuzz_shards.write_mutated(shards[name], rng, folder, mutate)
        sound = fuzz_mutations.parts(name, own)
        return fuzz_mutations.write_parts(name, fuzz_mutations.mutation(name, own, rng) if rng else sound, folder)

    for name in names:
        for step in looks[name]:
            step(write(name, None, folder))
    return looks, write


def _written(folder: Path) -> None:
    model = network(1)
    save_weights(model, folder / "x.weights.h5", {"model": "unet_gan", "builder": {"width": 4}}).rename(folder / "loaded-keras")
    model.save(folder / "x.keras")
    (folder / "x.keras").rename(folder / "loaded-archive")
    for name, source in (("loaded-legacy", "nested_part_frozen.h5"), ("loaded-whole", "whole_model.h5")):
        (folder / name).write_bytes((LEGACY / source).read_bytes())
    write_safetensors(folder / "loaded-safetensors", named(model))
    write_npz(folder / "loaded-npz", named(model))
    (folder / "loaded-checkpoint").mkdir(exist_ok=True)
    write_checkpoint(folder / "loaded-checkpoint" / "model", named(model), slots=True)
    checkpoint = Checkpoint(folder / "resumed")
    checkpoint.set_model(_compiled())
    checkpoint.on_epoch_end(0, {"loss": 1.0, "val_ssim": 0.5})
    checkpoint.save(1, 3)


def _compiled() -> keras.Model:
    model = network(1)
    model.compile("adam", "mse")
    model.fit(np.ones((1, 8, 8, 2), np.float32), np.ones((1, 4, 4, 1), np.float32), verbose=0)
    return model


def _looks() -> dict[str, tuple[Look, ...]]:
    """Every model is built once: building one takes longer than a look."""
    small, pair, single, compiled = network(0), nested(), generator(), _compiled()
    models = {"loaded-legacy": pair, "loaded-whole": single}
    looks = {name: (_loader(models.get(name, small)),) for name in TENSORFLOW if name.startswith("loaded")}
    looks["loaded-checkpoint"] = (_loader(small, "model"),)
    shards = dict(zip(SHARDS, fuzz_shards.LOOKS))
    return {**looks, "resumed": (lambda folder: _go_on(folder, compiled),), **shards}


def _go_on(folder: Path, model: keras.Model) -> None:
    checkpoint = Checkpoint(folder)
    checkpoint.restore(model)
    checkpoint.set_model(model)
    checkpoint.on_epoch_begin(1)
    KeepBest(print, checkpoint.history)


def _loader(model: object, inside: str = "") -> Look:
    def load(path: Path) -> None:
        before = values(model)
        try:
            report = load_weights(model, path / inside if inside else path)
        except BaseException:
            assert unchanged(model, before), "half loaded"
            raise
        assert report.loaded == report.total
        assert all(np.isfinite(value).all() for value in values(model))

    return load
