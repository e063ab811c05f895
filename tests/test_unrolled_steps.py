"""Three Adam steps of MoDL and deep basis pursuit equal the original's; resume, devices, XLA, saving."""

import numpy as np
import pytest
import tensorflow as tf
from test_unrolled_golden import built, by_torch_name
from training_tools import precision

from tfrecon.training import UnrolledRecon

CASES = ["modl_train_sup", "modl_train_selfsup", "dbp_train_sup", "dbp_train_selfsup"]


def trained_variables(case, model):
    """Our variable behind every name of the case, in PyTorch's layout."""
    found = {v.path: v for v in model.trainable_variables}
    for name in case["var_names"]:
        prefix, _, leaf = str(name).rpartition(".")
        layer = prefix.removeprefix("denoiser.").replace(".", "_") or "consistency"
        ends = {"weight": f"{layer}/kernel", "l2lam": f"{layer}/l2lam"}[leaf]
        array = np.asarray(next(v for path, v in found.items() if path.endswith(ends)))
        yield array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


class Limits:
    """GOLDEN's in float32; in float64 nothing hides."""

    def __init__(self, exact):
        self.loss, self.grad, self.l2, self.sample, self.l2lam = (
            (1e-9, 1e-8, 1e-9, 1e-9, 1e-9) if exact else (1e-5, 1e-4, 1e-6, 2e-5, 1e-6))


@pytest.mark.parametrize("name, floatx", [
    *((name, "float64") for name in CASES), ("modl_train_sup", "float32"),
    *(pytest.param(name, "float32", marks=pytest.mark.slow) for name in CASES[1:]),
])
def test_three_steps(flow, name, floatx):
    case, exact = flow(name), floatx == "float64"
    limits, size = Limits(exact), case.meta["batch_size"]
    with precision(floatx):
        model, inputs, images = built(case)
        trainer = UnrolledRecon(model, supervised=name.endswith("_sup"))
        trainer.compile(learning_rate=case.meta["adam"]["lr"], run_eagerly=True)

        def batch(rows):
            kind = "complex128" if exact else "complex64"
            cast = {k: tf.cast(v[rows], floatx if k == "mask" else kind) for k, v in inputs.items()}
            return cast, tf.cast(images[rows], kind)

        model.consistency.l2lam.assign(case["l2lam_64" if exact else "l2lam"][0])  # in float64 the original's was no float32
        check_variables(case, model, 0, exact, limits)
        for step, rows in enumerate([slice(0, size), slice(size, 2 * size), slice(0, size)]):
            data = batch(rows)
            check_gradients(case, trainer, data, step, exact, limits)
            trainer.reset_metrics()
            logs = trainer.train_step(data)
            for key in ("losses", "nrmse"):
                stored = case[f"{key}_64" if exact else key][step]
                np.testing.assert_allclose(logs["loss" if key == "losses" else key], stored, rtol=limits.loss)
            check_variables(case, model, step + 1, exact, limits)
        after = model(batch(slice(0, size))[0])
        np.testing.assert_allclose(after, case["out_after"], atol=2e-5 * np.abs(case["out_after"]).max())


def check_gradients(case, trainer, data, step, exact, limits):
    with tf.GradientTape() as tape:
        output, counts = trainer.model.reconstruct(data[0], training=True)
        loss = trainer._loss(*data, output)
    norms = {v.path: float(tf.norm(g)) for v, g in
             zip(trainer.model.trainable_variables, tape.gradient(loss, trainer.model.trainable_variables))}
    stored = case["grad_l2_64" if exact else "grad_l2"][step]
    own = by_torch_name(trainer.model, norms, [str(n) for n in case["var_names"]])
    np.testing.assert_allclose(own, stored, rtol=limits.grad)
    np.testing.assert_array_equal(np.array(counts, float), case["num_cg"][step])


def check_variables(case, model, step, exact, limits):
    suffix = "_64" if exact else "_f32"
    samples = case["var_samples_64" if exact else "var_samples"][step]
    for i, array in enumerate(trained_variables(case, model)):
        np.testing.assert_allclose(np.linalg.norm(array.ravel()), case[f"var_l2{suffix}"][step, i], rtol=limits.l2)
        places = case["sample_idx"][i]
        known = places >= 0
        np.testing.assert_allclose(array.ravel()[places[known]], samples[i][known], rtol=0, atol=limits.sample)
    stored = case["l2lam_64" if exact else "l2lam"][step]
    np.testing.assert_allclose(model.consistency.l2lam, stored, rtol=limits.l2lam)
