"""The models that know the coils and the measurement."""

from __future__ import annotations

from typing import Any

from .record import Original, Record

_DENOISERS = ("resnet", "unet", "cnn")
_BUILDERS = tuple(f"models.unrolled.{name}_denoiser" for name in _DENOISERS)


def cg_sense(l2lam: float = 1e-3, cg_max_iter: int = 10, cg_eps: float = 1e-4, centered: bool = True) -> Any:
    """`models.unrolled.CGSense`: a callable on {"kspace", "sens_maps", "mask"}; nothing to train."""
    from ..models.unrolled import CGSense

    return CGSense(l2lam, cg_max_iter=cg_max_iter, cg_eps=cg_eps, centered=centered)


def modl(
    denoiser: str = "resnet",
    num_unrolls: int = 4,
    cg_start: str = "previous",
    l2lam: float = 1e-3,
    cg_max_iter: int = 10,
    cg_eps: float = 1e-4,
    centered: bool = True,
    supervised: bool = True,
    sum_over_batch: bool = False,
    held_back: float = 0.0,
    draw_seed: int = 0,
    learning_rate: Any = 1e-3,
    jit_compile: Any = "auto",
    **network: Any,
) -> Any:
    """`training.UnrolledRecon` of a `MoDL`, compiled; `network` are arguments of its denoiser's builder."""
    from ..models.unrolled import MoDL

    model = MoDL(_denoiser(denoiser, network), num_unrolls, cg_start, l2lam, cg_max_iter=cg_max_iter, cg_eps=cg_eps,
                 centered=centered, multiple=_multiple(denoiser, network))
    return _trainer(model, (supervised, sum_over_batch, held_back, draw_seed), learning_rate, jit_compile)


def deep_basis_pursuit(
    denoiser: str = "resnet",
    num_unrolls: int = 4,
    num_admm: int = 2,
    stdev: float = 0.0,
    l2lam: float = 0.1,
    epsilon_rule: str = "sample",
    cg_max_iter: int = 10,
    cg_eps: float = 1e-4,
    centered: bool = True,
    supervised: bool = True,
    sum_over_batch: bool = False,
    held_back: float = 0.0,
    draw_seed: int = 0,
    learning_rate: Any = 1e-3,
    jit_compile: Any = "auto",
    **network: Any,
) -> Any:
    """`training.UnrolledRecon` of a `DeepBasisPursuit`, compiled; `network` are arguments of its denoiser's builder."""
    from ..models.unrolled import DeepBasisPursuit

    model = DeepBasisPursuit(_denoiser(denoiser, network), num_unrolls, num_admm, stdev, l2lam, epsilon_rule,
                             cg_max_iter=cg_max_iter, cg_eps=cg_eps, centered=centered, multiple=_multiple(denoiser, network))
    return _trainer(model, (supervised, sum_over_batch, held_back, draw_seed), learning_rate, jit_compile)


def _denoiser(name: str, options: dict[str, Any]) -> Any:
    from ..models import unrolled

    if name not in _DENOISERS:
        raise ValueError(f"The denoiser must be one of {', '.join(_DENOISERS)}, received {name!r}")
    return getattr(unrolled, f"{name}_denoiser")(**options)


def _multiple(name: str, options: dict[str, Any]) -> int:
    """What the denoiser's height and width must be multiples of."""
    return 2 ** (options.get("depth", 4) - 1) if name == "unet" else 1


def _trainer(model: Any, how: tuple[bool, bool, float, int], learning_rate: Any, jit_compile: Any) -> Any:
    from ..training import UnrolledRecon

    trainer = UnrolledRecon(model, *how)
    trainer.compile(learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


_SEED = {"supervised": False, "num_unrolls": 4, "l2lam": 0.1}
# No batch norms: those of the published network begin with an answer of variance 1, many times the image's, which takes
# hundreds of steps to shrink (35 slices, five unrolls: 23.5 dB after two epochs, without them 30.5). And a U-Net, which sees
# as far as aliasing reaches (benchmarks/README.md, true k-space of three brains).
_RECOMMENDED = {"denoiser": "unet", "residual": True, "num_unrolls": 3, "l2lam": 0.05, "learning_rate": 7e-4}
_SMALL = {"denoiser": "resnet", "kernel_size": 3, "latent_channels": 16, "num_blocks": 2, "num_unrolls": 4, "l2lam": 0.05,
          "learning_rate": 1e-3}
_DEEPINPY = Original("utcsilab/deepinpy", "eafebc7", "MIT")
_SEED_004 = Original("SamiKhandker/ImprovingMRIQuality", "9f53d9e", "none stated")
_COMPLEX = "complex images in the units of the k-space, which is divided by the largest value of the zero-filled image"
_ANY = "any number of coils, any height and width (a U-Net denoiser pads inside)"

RECORDS = (
    Record(
        "cg_sense",
        "multicoil",
        "CG-SENSE: least squares by conjugate gradient with coil maps; nothing is learned.",
        fixed=cg_sense,
        system="CG-SENSE",
        builder="models.unrolled.CGSense",
        value_range=_COMPLEX,
        sizes=_ANY,
        originals=(_DEEPINPY,),
        published={"l2lam": 1e-3, "cg_max_iter": 10, "cg_eps": 1e-4},
        parity="outputs to 2e-5 of the largest value, losses and gradients to 1e-3: tests/golden/flow/cgsense.npz",
    ),
    Record(
        "modl",
        "multicoil",
        "MoDL: a denoiser and data consistency by conjugate gradient, unrolled.",
        modl,
        system="MoDL, model-based deep learning",
        builder="models.unrolled.MoDL",
        training_class="training.UnrolledRecon",
        value_range=_COMPLEX,
        sizes=_ANY,
        takes=_BUILDERS,
        presets={
            "recommended": _RECOMMENDED,
            "small": _SMALL,
            "published": {"denoiser": "cnn", "num_unrolls": 10, "cg_start": "zero", "cg_eps": 1e-5, "l2lam": 0.05,
                          "learning_rate": 1e-3},
            "seed": {**_SEED, "denoiser": "resnet", "learning_rate": 4e-5},
        },
        batch_size=1,
        batch_sizes={"seed": 5},
        originals=(_DEEPINPY, Original("hkaggarwal/modl", "2b02b9b4", "none stated")),
        published={"num_unrolls": 10, "denoiser": "5 convolutions of 64 features with batch norm", "epochs": 50, "cg_eps": 1e-5,
                   "l2lam": "0.05, learned to 0.114", "acceleration": "6x, masks of points"},
        parity="outputs, every gradient, conjugate-gradient counts, three Adam steps in float64 to 1e-9: "
               "tests/golden/flow/modl*.npz; the published weights give the authors' image of a real brain to 6e-6",
    ),
    Record(
        "deep_basis_pursuit",
        "multicoil",
        "Deep basis pursuit: a denoiser under the constraint of the measurement, by ADMM, unrolled.",
        deep_basis_pursuit,
        system="deep basis pursuit (seed 004)",
        builder="models.unrolled.DeepBasisPursuit",
        training_class="training.UnrolledRecon",
        value_range=_COMPLEX,
        sizes=_ANY,
        takes=_BUILDERS,
        presets={
            "recommended": {**_RECOMMENDED, "l2lam": 1.0},
            "small": {**_SMALL, "l2lam": 1.0},
            "seed": {**_SEED, "denoiser": "unet", "learning_rate": 1.1e-3},
        },
        batch_size=1,
        batch_sizes={"seed": 5},
        originals=(_DEEPINPY, _SEED_004),
        published={"num_unrolls": 4, "num_admm": 2, "l2lam": 0.1, "batch_size": 5, "epochs": "500 (8 bit), 1000 (4 bit)",
                   "learning_rate": "1.1e-3 with the U-Net, 4e-5 with the ResNet", "supervised": False, "cg_max_iter": 10,
                   "cg_eps": 1e-4},
        parity="outputs, every gradient, conjugate-gradient counts, three Adam steps in float64 to 1e-9, with both denoisers: "
               "tests/golden/flow/dbp*.npz",
    ),
)
