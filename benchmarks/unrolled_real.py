"""Reconstructions of true multi-coil k-space: zero-filled, CG-SENSE, MoDL, deep basis pursuit, and classical compressed sensing.

    python benchmarks/unrolled_real.py DATA/multicoil [--published modl_5l/model-50] [--modl FILE [--adapt 100]] [--dbp FILE]

DATA is what benchmarks/real_data.py wrote. Every first slice is undersampled by a mask of columns (fastMRI's random mask,
seeded with the file's name) and by one of single points (variable density, fully sampled 16 x 16, seed 0). Coil maps come
from the sampled centre alone (ESPIRiT). PSNR and SSIM against the root sum of squares of the full k-space, with the slice's
maximum as range, and in brackets PSNR against the coil images weighted by the maps, which has less noise in it. L1-wavelet
and total variation are sigpy's; they and CG-SENSE have the best of three weights chosen BY the result (an advantage for them).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from workers import surroundings, table

from tfrecon.data import Problem, SliceReader, index_volumes, problem_of
from tfrecon.data.multicoil.problem import combine
from tfrecon.metrics import psnr, ssim
from tfrecon.physics import estimate_maps, ifft2c, rss
from tfrecon.physics.masks import create_mask, variable_density_mask

KINDS = ("columns", "points")
WEIGHTS = (0.0003, 0.001, 0.003)


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.adapt and not arguments.modl:
        parser.error("--adapt needs --modl")
    methods = _methods(arguments)
    rows = []
    with SliceReader() as reader:
        for volume in index_volumes(arguments.data, strict=True).volumes:
            kspace = reader.kspace(volume, 0)
            for acceleration in arguments.accelerations:
                for kind in arguments.kinds:
                    mask = _mask(kind, volume, acceleration)
                    problem = problem_of(kspace, estimate_maps(kspace, mask), mask)
                    rows.append([f"{Path(volume.name).stem}, {acceleration}x {kind}",
                                 *(_cell(method, problem, kspace) for method in methods.values())])
                    print(rows[-1], flush=True)
    print(f"\nTrue multi-coil k-space. {surroundings('tensorflow', 'keras')}\n")
    print(table(["data", *methods], rows))


def _mask(kind: str, volume: Any, acceleration: float) -> np.ndarray:
    if kind == "columns":
        return create_mask("random", volume.width, None, acceleration, Path(volume.name).name)
    return variable_density_mask((volume.height, volume.width), acceleration, seed=0)


def _cell(method: Callable[[Problem], list], problem: Problem, kspace: np.ndarray) -> str:
    """The best of what a method gives, by PSNR."""
    truth = (rss(ifft2c(kspace)) / problem.scale)[None]
    whole = np.abs(combine(kspace, problem.sens_maps) / problem.scale)[None]
    best = max((np.abs(np.asarray(image))[None].astype(np.float32) for image in method(problem)),
               key=lambda image: psnr(truth, image))
    return f"{psnr(truth, best):.2f} / {ssim(truth, best):.3f} ({psnr(whole, best):.2f})"


def _methods(arguments: argparse.Namespace) -> dict[str, Callable[[Problem], list]]:
    """Name -> the images it makes of a problem."""
    from tfrecon.models import unrolled

    methods: dict[str, Callable[[Problem], list]] = {
        "zero-filled": lambda problem: [rss(ifft2c(problem.kspace))],
        "CG-SENSE": lambda problem: [_apply(unrolled.CGSense(l2lam), problem) for l2lam in (0.0, 0.01, 0.1)],
    }
    if arguments.published:
        methods["MoDL, published"] = _published(arguments.published)
    for title, name, weights in (("MoDL, trained here", "modl", arguments.modl),
                                 ("DBP, trained here", "deep_basis_pursuit", arguments.dbp)):
        if weights:
            methods[title] = _trained(name, weights)
    if arguments.adapt and arguments.modl:
        methods[f"the same, adapted in {arguments.adapt} steps"] = _adapted(arguments.modl, arguments.adapt)
    if arguments.no_classical:
        return methods
    try:
        from sigpy.mri import app
    except ImportError:
        return methods
    methods["L1-wavelet"] = lambda problem: [_classical(app.L1WaveletRecon, problem, weight) for weight in WEIGHTS]
    methods["TV"] = lambda problem: [_classical(app.TotalVariationRecon, problem, weight) for weight in WEIGHTS]
    return methods


def _apply(model: Any, problem: Problem) -> np.ndarray:
    return np.asarray(model({name: array[None] for name, array in problem.inputs.items()}))[0]


def _published(path: str) -> Callable[[Problem], list]:
    from tfrecon.models import unrolled
    from tfrecon.weights import load_weights

    model = unrolled.MoDL(unrolled.cnn_denoiser(), 10, "zero", cg_eps=1e-5)
    load_weights(model, path)
    return lambda problem: [_apply(model, problem)]


def _trained(name: str, weights: str) -> Callable[[Problem], list]:
    from tfrecon import create

    model = create(name, weights=weights).model
    return lambda problem: [_apply(model, problem)]


def _adapted(weights: str, steps: int) -> Callable[[Problem], list]:
    from tfrecon import create
    from tfrecon.training import ScanAdaptation

    model = create("modl", weights=weights).model
    adaptation = ScanAdaptation(model, steps)

    def method(problem: Problem) -> list:
        adaptation([problem.inputs])
        return [_apply(model, problem)]

    return method


def _classical(app: Any, problem: Problem, weight: float) -> np.ndarray:
    return app(problem.kspace, problem.sens_maps, weight, weights=problem.mask, show_pbar=False).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--accelerations", type=float, nargs="+", default=[4, 6, 8])
    parser.add_argument("--published", help="prefix of the published MoDL's checkpoint")
    parser.add_argument("--modl", help="weights of `tfrecon train --model modl`")
    parser.add_argument("--adapt", type=int, help="also fit it to each case's own samples in so many steps")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of masks")
    parser.add_argument("--no-classical", action="store_true", help="leave sigpy's L1-wavelet and TV out")
    parser.add_argument("--dbp", help="weights of `tfrecon train --model deep_basis_pursuit`")
    return parser


if __name__ == "__main__":
    began = time.time()
    main()
    print(f"\n{time.time() - began:.0f} s")
