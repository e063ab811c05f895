"""The inverse problem with a flow prior equals the seed's notebook; batches, starts, early stop, misuse."""

import numpy as np
import pytest
from test_flow_golden import close, flow_of
from training_tools import precision

from tfrecon.errors import DataError, UsageError
from tfrecon.models.spline_flow import spline_flow_model
from tfrecon.physics.operators import Sense
from tfrecon.reconstruction.flow_prior import PENALTIES, FlowPriorSettings, _settled, solve_with_flow
from tfrecon.weights import load_weights

VARIANTS = {"l1": "norm", "logprob": "log_prob", "l1_logprob": "both"}


@pytest.mark.parametrize("variant, jit", [*((v, False) for v in VARIANTS),
                                          pytest.param("l1_logprob", True, marks=pytest.mark.slow)])
def test_the_notebooks_loop(flow, variant, jit):
    case = flow(f"inverse_{variant}")
    meta, maps, mask = case.meta, case["in_maps"][None], case["in_mask"][None]
    network = flow_of(meta)
    load_weights(network, case.weights())
    truth = case["in_x_true"]
    inputs = {"sens_maps": maps, "mask": mask}
    inputs["kspace"] = Sense(maps, mask, centered=False).forward(truth.astype(np.complex64)).numpy()
    settings = FlowPriorSettings(**PENALTIES[VARIANTS[variant]], learning_rate=meta["adam_lr"], steps=meta["adam_steps"],
                                 centered=False, jit_compile=jit)
    result = solve_with_flow(inputs, network, settings, latents=case["in_z0"])
    close(result.objectives[:, 0], case, "out_losses")
    close(result.latents, case, "out_z_final")
    close(result.image, case, "out_x_gen")
    one = FlowPriorSettings(**{**vars(settings), "steps": 1})
    close(solve_with_flow(inputs, network, one, latents=case["in_z0"]).latents, case, "out_z_after_1")
    error = np.mean((result.image - truth) ** 2)
    np.testing.assert_allclose(10 * np.log10(1 / error), case["out_psnr"], rtol=1e-5)


@pytest.fixture(scope="module")
def problem():
    """Two pictures of a small flow, measured by two coils at every second column."""
    network = spline_flow_model((8, 8, 1), 1, 1, 8, 4)
    rng = np.random.default_rng(0)
    truth = np.asarray(network.inverse(0.5 * rng.standard_normal((2, 64)).astype("float32"))[0])[..., 0] / 16
    maps = rng.normal(size=(2, 2, 8, 8, 2)).astype("float32").view("complex64")[..., 0]
    mask = np.broadcast_to(np.isin(np.arange(8), [1, 3, 4, 5, 7]), (2, 8, 8)).astype("float32")
    kspace = Sense(maps, mask).forward(truth.astype("complex64")).numpy()
    return network, truth, {"kspace": kspace, "sens_maps": maps, "mask": mask}


GENTLE = {"learning_rate": 0.05, "norm_weight": 1e-4}


def test_a_picture_is_found_again(problem):
    network, truth, inputs = problem
    result = solve_with_flow(inputs, network, FlowPriorSettings(**GENTLE, steps=300))
    assert np.abs(result.image - truth).max() < 0.05 * np.ptp(truth)


def test_pictures_in_a_batch_do_not_see_each_other(problem):
    network, _, inputs = problem
    start = np.random.default_rng(1).standard_normal((2, 64)).astype("float32")
    settings = FlowPriorSettings(**GENTLE, steps=20)
    together = solve_with_flow(inputs, network, settings, start).image
    for i in range(2):
        alone = solve_with_flow({k: v[i : i + 1] for k, v in inputs.items()}, network, settings, start[i : i + 1]).image
        np.testing.assert_allclose(together[i], alone[0], atol=1e-4)


def test_of_several_starts_the_lowest_is_kept(problem):
    """Even if it is the second of the first picture and the first of the second."""
    network, _, inputs = problem
    good, bad = np.zeros((1, 64), "float32"), np.full((1, 64), 30.0, "float32")
    result = solve_with_flow(inputs, network, FlowPriorSettings(**GENTLE, steps=2, starts=2),
                             np.concatenate([bad, good, good, bad]))
    assert result.image.shape == (2, 8, 8) and np.abs(result.latents).max() < 1
    assert result.objectives.shape == (2, 4)
    lost = np.full((1, 64), np.nan, "float32")
    mended = solve_with_flow(inputs, network, FlowPriorSettings(**GENTLE, steps=2, starts=2),
                             np.concatenate([lost, good, good, lost]))
    np.testing.assert_array_equal(mended.image, result.image)
    with pytest.raises(DataError, match=r"pictures \[1\] diverged"):
        solve_with_flow(inputs, network, FlowPriorSettings(**GENTLE, steps=1), np.concatenate([good, lost]))


def test_same_seed_same_picture_and_early_stop(problem):
    network, _, inputs = problem
    seen = []
    settings = FlowPriorSettings(**GENTLE, steps=60, tolerance=0.9, seed=3)
    one = solve_with_flow(inputs, network, settings, progress=lambda number, value: seen.append((number, value.shape)))
    two = solve_with_flow(inputs, network.prepared(), settings)
    np.testing.assert_array_equal(one.image, two.image)
    assert 10 < len(one.objectives) < 60
    assert seen[-1] == (len(one.objectives), (2,))
    other = solve_with_flow(inputs, network, FlowPriorSettings(**GENTLE, steps=3, seed=4))
    assert np.any(other.objectives[0] != one.objectives[0])


def test_the_search_starts_at_the_zero_filled_picture(problem):
    """The first start of every picture does, the others are drawn; the first step is still one of Adam's."""
    network, _, inputs = problem
    zero_filled = np.clip(Sense(inputs["sens_maps"], inputs["mask"]).adjoint(inputs["kspace"]).numpy().real, 0, 1)
    begins = np.asarray(network.forward(16 * zero_filled[..., None])[0])
    rate = 1e-6
    result = solve_with_flow(inputs, network, FlowPriorSettings(0.0, steps=1, learning_rate=rate, first="zero_filled"))
    np.testing.assert_allclose(result.latents, begins, atol=2e-5)
    np.testing.assert_allclose(result.image, zero_filled, atol=2e-5)
    two = solve_with_flow(inputs, network, FlowPriorSettings(0.0, steps=1, starts=2, first="zero_filled"))
    np.testing.assert_allclose(two.objectives[0, ::2], result.objectives[0], rtol=1e-4)
    assert np.all(two.objectives[0, 1::2] != two.objectives[0, ::2])


def test_l1_norm_and_coil_sum_are_what_they_say(problem):
    network, _, inputs = problem
    z = np.random.default_rng(2).standard_normal((2, 64)).astype("float32")
    values = {}
    for name, options in (("none", {"norm_weight": 0.0}), ("l1", {"norm_weight": 1.0, "norm": "l1"}),
                          ("l2", {"norm_weight": 1.0}), ("sum", {"norm_weight": 0.0, "mean_over_coils": False})):
        settings = FlowPriorSettings(**options, steps=1)
        values[name] = solve_with_flow(inputs, network, settings, z).objectives[0]
    np.testing.assert_allclose(values["l1"] - values["none"], np.abs(z).sum(1), rtol=1e-4)
    np.testing.assert_allclose(values["l2"] - values["none"], np.linalg.norm(z, axis=1), rtol=1e-4)
    np.testing.assert_allclose(values["sum"], 2 * values["none"], rtol=1e-5)


@pytest.mark.parametrize("options, message", [
    ({"norm": "l0"}, "l2, l1"), ({"first": "ones"}, "random, zero_filled"),
    ({"steps": 0}, "at least 1"), ({"starts": 1.5}, "whole number"),
    ({"norm_weight": -1.0}, "at least 0"), ({"learning_rate": 0.0}, "above 0"), ({"tolerance": float("nan")}, "finite"),
    ({"learning_rate": "1e-2"}, "above 0"), ({"norm_weight": None}, "at least 0"), ({"seed": -1}, "seed"),
    ({"centered": "no"}, "True or False"), ({"jit_compile": "auto"}, "None, True or False"),
])
def test_settings_out_of_range(options, message):
    with pytest.raises(UsageError, match=message):
        FlowPriorSettings(**options)


def test_xla_where_it_repays_its_compilation():
    pixels = 15 * 80 * 64
    assert FlowPriorSettings(steps=100).compiled(pixels) and not FlowPriorSettings(steps=2).compiled(pixels)
    assert FlowPriorSettings(steps=2, jit_compile=True).compiled(64)
    assert not FlowPriorSettings(steps=100, jit_compile=False).compiled(pixels)


@pytest.mark.parametrize("change, message", [
    (lambda p: p.pop("mask"), r"by name, received \['kspace', 'sens_maps'\]"),
    (lambda p: p.update(kspace=p["kspace"][..., :6]), "pictures' size"),
    (lambda p: p.update(sens_maps=p["sens_maps"][:, :1]), "coil maps like"),
    (lambda p: p.update(mask=p["mask"][0]), "a mask"),
])
def test_inputs_that_do_not_fit(problem, change, message):
    network, _, inputs = problem
    inputs = dict(inputs)
    change(inputs)
    with pytest.raises(UsageError, match=message):
        solve_with_flow(inputs, network)


def test_latents_of_another_size_and_double_precision(problem):
    network, _, inputs = problem
    for latents in (np.zeros((2, 63)), np.zeros((2, 64), "complex64"), "abc"):
        with pytest.raises(UsageError, match=r"real latents \(2, 64\)"):
            solve_with_flow(inputs, network, latents=latents)
    with precision("float64"):
        exact = spline_flow_model((8, 8, 1), 1, 1, 8, 4)
    wide = {"kspace": inputs["kspace"].astype("complex128"), "sens_maps": inputs["sens_maps"].astype("complex128"),
            "mask": inputs["mask"].astype("float64")}
    assert solve_with_flow(wide, exact, FlowPriorSettings(steps=1)).image.dtype == np.float64


@pytest.mark.slow
def test_double_precision_lists_and_unmeasured_samples_are_no_matter(problem):
    """NumPy's FFT gives complex128; k-space beside its mask may be full, or hold NaN where nothing was measured."""
    network, truth, inputs = problem
    settings = FlowPriorSettings(**GENTLE, steps=60, tolerance=0.9)
    plain = solve_with_flow(inputs, network, settings)
    full = Sense(inputs["sens_maps"], np.ones_like(inputs["mask"])).forward(truth.astype("complex64")).numpy()
    spoiled = np.where(inputs["mask"][:, None] > 0, inputs["kspace"], np.nan)
    for change in ({"kspace": inputs["kspace"].astype("complex128")}, {"mask": inputs["mask"].astype(bool).tolist()},
                   {"sens_maps": inputs["sens_maps"].astype("complex128")}, {"kspace": full}, {"kspace": spoiled}):
        other = solve_with_flow({**inputs, **change}, network, settings)
        np.testing.assert_allclose(other.image, plain.image, atol=1e-4)
        assert len(other.objectives) == len(plain.objectives)


def test_a_start_that_diverged_does_not_keep_the_others_searching(problem):
    network, _, inputs = problem
    good, lost = np.zeros((1, 64), "float32"), np.full((1, 64), np.nan, "float32")
    settings = FlowPriorSettings(**GENTLE, steps=60, starts=2, tolerance=0.9)
    result = solve_with_flow(inputs, network, settings, np.concatenate([lost, good, good, lost]))
    assert 10 < len(result.objectives) < 60


@pytest.mark.parametrize("change, error, message", [
    ({"mask": lambda m: m * [[[1]], [[0]]]}, DataError, r"pictures \[1\] have a mask"),
    ({"mask": lambda m: m / 2}, DataError, "not of zeros and ones"),
    ({"sens_maps": lambda s: s * 0}, DataError, r"pictures \[0, 1\] have coil maps that are all zeros"),
    ({"sens_maps": lambda s: s * np.nan}, DataError, "coil maps that are not finite"),
    ({"kspace": lambda k: k * np.nan}, DataError, "measured samples that are not finite"),
    ({"kspace": lambda k: k.real}, UsageError, "must be complex"),
    ({"kspace": lambda k: k.astype("complex128") * 1e39}, DataError, "not finite as complex64"),
    ({"mask": lambda m: m + 0j}, UsageError, "the mask real"),
    ({"sens_maps": lambda s: s.astype(str)}, UsageError, "sens_maps must be an array of numbers"),
    ({name: (lambda x: x[:0]) for name in ("kspace", "sens_maps", "mask")}, UsageError, "at least one picture"),
])
def test_inputs_that_mean_nothing_are_refused(problem, change, error, message):
    """Rows 15, 19, 29, 30, 37 and 71: each gave a picture or a trace of TensorFlow's."""
    network, _, inputs = problem
    with pytest.raises(error, match=message):
        solve_with_flow({**inputs, **{name: make(inputs[name]) for name, make in change.items()}}, network)


@pytest.mark.parametrize("factor", [1e-5, 1e5])
def test_k_space_of_another_scale_is_told_with_numbers(problem, factor):
    """Row 27: the search would only answer with a picture that fits nothing."""
    network, _, inputs = problem
    with pytest.warns(UserWarning, match=r"largest value [0-9.e+-]+; a flow makes pictures in \[0, 1\]"):
        solve_with_flow({**inputs, "kspace": inputs["kspace"] * np.float32(factor)}, network, FlowPriorSettings(steps=1))


def test_a_rise_does_not_end_a_search_that_is_still_falling():
    falling = [np.array([value]) for value in (*range(30, 18, -1), 31.0)]
    assert not _settled(falling, 0.01, 1), "the best of the last ten steps is 8 below the best before"
    assert _settled([np.array([5.0])] * 12, 0.01, 1)


def test_what_is_no_problem_and_no_settings(problem):
    network, _, inputs = problem
    for nothing in (None, tuple(inputs.values())):
        with pytest.raises(UsageError, match="kspace, sens_maps, mask by name"):
            solve_with_flow(nothing, network)
    with pytest.raises(UsageError, match="Expected FlowPriorSettings, received dict"):
        solve_with_flow(inputs, network, {"steps": 3})
    assert FlowPriorSettings(steps=np.int64(3), norm_weight=np.float32(0.1)).steps == 3


def test_a_trainer_is_told_from_its_flow(problem):
    from tfrecon.training import SplineFlowTrainer

    with pytest.raises(UsageError, match=r"a trainer has it as \.flow"):
        solve_with_flow(problem[2], SplineFlowTrainer(problem[0]))
