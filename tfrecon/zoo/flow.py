"""The generative prior."""

from __future__ import annotations

from typing import Any

from .record import Original, Record


def spline_flow(
    image_shape: tuple[int, int, int] = (80, 64, 1),
    learning_rate: Any = 1.5e-3,
    jit_compile: Any = "auto",
    noise_seed: int = 0,
    **flow: Any,
) -> Any:
    """`training.SplineFlowTrainer` of a `spline_flow_model`, compiled; `flow` are arguments of that builder."""
    from ..models.spline_flow import spline_flow_model
    from ..training import SplineFlowTrainer

    trainer = SplineFlowTrainer(spline_flow_model(tuple(image_shape), **flow), noise_seed)
    trainer.compile(learning_rate=learning_rate, jit_compile=jit_compile)
    return trainer


_KNEES = {"image_shape": (80, 64, 1), "levels": 4, "num_bins": 12, "tail_bound": 1.0, "num_bits": 4}

RECORDS = (
    Record(
        "spline_flow",
        "pictures",
        "Neural spline flow: a prior over pictures for the MRI inverse problem (seed 004).",
        spline_flow,
        system="neural spline flow prior (seed 004)",
        builder="models.spline_flow.spline_flow_model",
        training_class="training.SplineFlowTrainer",
        takes=("models.spline_flow.SplineFlow",),
        presets={
            "recommended": {**_KNEES, "steps_per_level": 4, "hidden_channels": 96, "learning_rate": 1e-3},
            "small": {**_KNEES, "steps_per_level": 2, "hidden_channels": 32, "learning_rate": 2e-3},
            "knee80x64": {**_KNEES, "steps_per_level": 10, "hidden_channels": 612, "learning_rate": 1.5e-3},
        },
        value_range="[0, 2^num_bits) in: levels with uniform noise; out the same, from standard normal latents",
        sizes="that of image_shape, 80x64; multiples of 2^levels",
        scaling="levels",
        batch_size=9,
        originals=(Original("bayesiains/nsf", "eaa9377", "MIT"),
                   Original("SamiKhandker/ImprovingMRIQuality", "9f53d9e", "none stated")),
        published={"batch_size": 9, "steps": 6000, "optimizer": "Adam(1.5e-3), cosine to 0", "num_bits": 4, "levels": 4,
                   "steps_per_level": 10, "hidden_channels": 612, "num_bins": 12, "pictures": "3,187 to train, 481 to validate"},
        parity="splines, layers, whole flows and their latents' order, every gradient, three Adam steps with the data-dependent "
               "start in float64 to 1e-9, the search for latents with its three penalties: tests/golden/flow",
    ),
)
