"""Mutations whose every choice hypothesis makes, so that of those that fail the smallest one is told: what `test_fuzz.py` runs.

    python tests/fuzz_hypothesis.py FOLDER EXAMPLES NAME [NAME ...]

looks at up to so many mutations of each kind as `fuzzing.py` does, in a child each (of kinds that need TensorFlow, in one child),
one line of JSON for every kind. The same
version of hypothesis makes the same ones again.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import fuzz_mutations
import fuzzing
import numpy as np
from fuzz_looks import TENSORFLOW
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

_MANY = 64  # numbers or bytes of one draw that hypothesis is asked for; more come from a seed of it


class Drawn:
    """What the mutations ask a `numpy.random.Generator` for, answered by hypothesis."""

    def __init__(self, draw: Callable[[st.SearchStrategy], Any]):
        self._draw = draw

    def integers(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        if size is not None:
            return self._seeded().integers(low, high, size)
        return self._draw(st.integers(int(low), int(high) - 1))

    def random(self) -> float:
        return self._draw(st.floats(0, 1, exclude_max=True))

    def choice(self, options: int | Sequence, size: int | None = None, p: Sequence[float] | None = None) -> Any:
        """Chances are left to hypothesis."""
        options = list(range(options) if isinstance(options, int) else options)
        if size is None:
            return self._draw(st.sampled_from(options))
        return self._draw(st.lists(st.sampled_from(options), min_size=int(size), max_size=int(size)))

    def bytes(self, size: int) -> bytes:
        return self._draw(st.binary(min_size=size, max_size=size)) if size <= _MANY else self._seeded().bytes(size)

    def standard_normal(self, shape: Any) -> np.ndarray:
        return self._seeded().standard_normal(shape)

    def _seeded(self) -> np.random.Generator:
        return np.random.default_rng(self._draw(st.integers(0, 2**32 - 1)))


def look_for_failures(name: str, examples: int, files: dict[str, bytes], folder: Any, canary: fuzzing.Canary) -> dict[str, Any]:
    """{"name", "examples", "outcome", "text"} of a kind: those of the smallest mutation that fails, if one does."""
    seen = [0]

    @_settings(examples)
    @given(st.data())
    def every_mutation_is_read_or_refused(data: st.DataObject) -> None:
        seen[0] += 1
        parts = fuzz_mutations.mutation(name, files, Drawn(lambda strategy: data.draw(strategy)))
        # As the sound files of the kind: a child writes those it is given, and looks.
        others = {path: content for path, content in files.items() if path != name and not path.startswith(f"{name}/")}
        mutated = {f"{name}/{part}" if part else name: content for part, content in parts.items()}
        (line,) = fuzzing.look_at_all([(name, 0)], {**others, **mutated}, folder, canary)
        if line["outcome"] not in fuzzing.FINE:
            raise _Failed(line)

    try:
        every_mutation_is_read_or_refused()
    except _Failed as failed:
        return {**failed.line, "examples": seen[0]}
    return {"name": name, "examples": seen[0], "outcome": "fine", "text": ""}


def look_in_one_child(name: str, examples: int, files: dict[str, bytes], folder: Any) -> dict[str, Any]:
    """The same of a kind that needs TensorFlow, whose import takes too long for a child of each mutation.

    Of an end of the child itself nothing smaller is looked for; the mutation lies in the folder.
    """

    def look(tell: Callable[..., None]) -> None:
        tempfile.tempdir = str(folder)  # where hypothesis may read what AutoGraph writes: it looks for constants in every module
        import fuzz_tensorflow

        looks, write = fuzz_tensorflow.ready({name}, files, folder)
        seen = [0]

        @_settings(examples)
        @given(st.data())
        def every_mutation_is_read_or_refused(data: st.DataObject) -> None:
            seen[0] += 1
            path = write(name, Drawn(lambda strategy: data.draw(strategy)), folder)
            fuzzing.limit_time()
            outcome, text = fuzzing.outcome(looks[name], path)
            if outcome not in fuzzing.FINE:
                raise _Failed({"outcome": outcome, "text": text})

        sys.stdout = sys.stderr = io.StringIO()
        fuzzing.limit_memory()
        fuzzing.watch(folder, tell, lambda: True)  # hypothesis compiles as it runs
        try:
            every_mutation_is_read_or_refused()
        except _Failed as failed:
            tell(name, seen[0], failed.line["outcome"], failed.line["text"])
        else:
            tell(name, seen[0], "fine")

    lines, end = fuzzing.in_child(look)
    line = lines[-1] if lines else {"outcome": end, "number": 0, "text": f"see {folder}"}
    return {"name": name, "examples": line["number"], "outcome": line["outcome"], "text": line["text"]}


def _settings(examples: int) -> settings:
    return settings(max_examples=examples, derandomize=True, database=None, deadline=None,
                    suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False)


class _Failed(Exception):
    def __init__(self, line: dict[str, Any]):
        super().__init__(f"{line['outcome']}\n{line['text']}")
        self.line = line


def main(folder: str, examples: str, *names: str) -> None:
    files, work, canary = fuzzing.prepared(folder, names)
    set_hypothesis_home_dir(work / "hypothesis")  # where children may read and write what it keeps; failures are not kept
    for name in names:
        if name in TENSORFLOW:
            found = look_in_one_child(name, int(examples), files, work)
        else:
            found = look_for_failures(name, int(examples), files, work, canary)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
