"""PyTorch files with PyTorch present (extra `torch`): tensors are read, code never runs, old formats and wrappings load."""

import os
import sys
import types

import numpy as np
import pytest
from conftest import SHARED
from test_weights_formats import torch_names
from weight_files import network, refused, unchanged, values

from tfrecon.weights import load_weights, look_into

torch = pytest.importorskip("torch")


def state(seed, prefix="", dtype=None):
    arrays = torch_names(network(seed))
    return {prefix + name: torch.tensor(array).to(dtype or torch.float32) for name, array in arrays.items()}


@pytest.mark.parametrize("new_format", [True, False], ids=["zip", "before 1.6"])
def test_state_dicts_of_both_formats_under_any_name(tmp_path, new_format):
    path, model = tmp_path / "generator.h5", network(0)
    torch.save(state(1), path, _use_new_zipfile_serialization=new_format)
    report = load_weights(model, path)
    assert report.loaded == report.total == 8 and report.notes == () and len(report.sha256) == 64
    assert unchanged(network(1), values(model))
    found = look_into(path)
    assert found.format == "PyTorch" and ("last.weight", (1, 3, 3, 3), "float32") in found.arrays


def test_row_65_wrapped_parallel_checkpoint(tmp_path):
    path, model = tmp_path / "latest.ckpt", network(0)
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 3, "state_dict": state(1, "module."), "optimizer": optimizer}, path)
    assert load_weights(model, path).notes == (
        "taken from the key 'state_dict'", "the prefix module. of DataParallel was taken off 8 names")
    assert unchanged(network(1), values(model))
    assert all(name.startswith("state_dict: module.") for name, _, _ in look_into(path).arrays)


def test_several_state_dicts_need_a_key(tmp_path):
    path, model = tmp_path / "both.pth", network(0)
    torch.save({"params": state(1), "params_ema": state(2)}, path)
    refused(model, path, "'params', 'params_ema'", "--key")
    load_weights(model, path, key="params_ema")
    assert unchanged(network(2), values(model))


def test_half_precision_is_widened(tmp_path):
    for dtype, tolerance in ((torch.bfloat16, 2**-8), (torch.float16, 2**-10), (torch.float64, 0)):
        model = network(0)
        torch.save(state(1, dtype=dtype), tmp_path / "x.pth")
        load_weights(model, tmp_path / "x.pth")
        for exact, read in zip(values(network(1)), values(model), strict=True):
            np.testing.assert_allclose(read, exact, rtol=tolerance, atol=1e-6)


class Code:
    """Unpickled, it runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("new_format", [True, False])
def test_row_64_code_is_refused_and_does_not_run(tmp_path, new_format):
    path = tmp_path / "x.pth"
    torch.save({**state(1), "extra": Code(tmp_path / "ran")}, path, _use_new_zipfile_serialization=new_format)
    message = refused(network(), path, "holds more than tensors", "system", "could run code")
    assert not (tmp_path / "ran").exists() and "weights_only" not in message


def test_whole_pickled_networks_are_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    refused(network(), tmp_path / "x.pth", "torch.nn.modules.linear.Linear", "state_dict()")


def test_tensors_that_deceive(tmp_path):
    """One stored number repeated 10^12 times, and tensors without plain numbers."""
    huge = torch.ones(1).expand(10**6, 10**6)
    for bad, fragment in ((huge, "larger than the whole file"), (torch.ones(2, 2).to_sparse(), "sparse"),
                          (torch.ones(2, dtype=torch.complex64), "complex")):
        torch.save({**state(1), "last.weight": bad}, tmp_path / "x.pth")
        refused(network(), tmp_path / "x.pth", fragment)


@pytest.mark.parametrize("new_format", [True, False])
def test_cut_anywhere(tmp_path, new_format):
    path, model = tmp_path / "x.pth", network(0)
    torch.save(state(1), path, _use_new_zipfile_serialization=new_format)
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 25).astype(int):
        path.write_bytes(data[:length])
        refused(model, path)


def test_versions_that_can_be_made_to_run_code_are_not_used(tmp_path, monkeypatch):
    torch.save(state(1), tmp_path / "x.pth")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.5.1+cpu"))
    refused(network(), tmp_path / "x.pth", "2.5.1", "torch>=2.6")


def test_published_weights_of_another_network():
    """Real files of 2020 (SRResCGAN), of the old format: read, and seen not to belong here."""
    path = SHARED / "weights" / "srrescgan_model.pth"
    if not path.exists():
        pytest.skip("published weights are not beside the project")
    found = look_into(path)
    assert len(found.arrays) == 47 and found.parameters == 380_356
    refused(network(), path, "none of the 47 arrays")
