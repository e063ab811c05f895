"""The laws of the house: who may import whom, what importing costs, and the names that stay fixed."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tfrecon

ROOT = Path(tfrecon.__file__).parent
# A room may import from these and, the column being transitive, from what these may import; `files`, `errors`, `hdf5`
# and `transforms` are open to every room but models.
LAW = {
    "errors": set(), "machine": set(), "files": {"errors"}, "transforms": {"errors"}, "hdf5": {"errors"},
    "downloads": {"errors", "files", "hdf5"},
    "losses": {"errors", "hdf5", "transforms", "downloads"}, "metrics": {"errors", "transforms"},
    "physics": {"errors", "transforms"}, "layers": {"physics", "transforms", "errors"},
    "models": {"layers", "physics", "transforms", "errors"},
    "data": {"errors", "files", "hdf5", "machine", "physics", "transforms", "downloads"},
    "weights": {"errors", "files", "hdf5", "downloads"},
    "training": {"models", "losses", "metrics", "layers", "hdf5", "errors", "files"},
    "reconstruction": {"data", "physics", "transforms", "metrics", "hdf5", "machine", "errors"},
    "report": {"metrics", "errors", "files"},
    "exporting": {"errors", "files", "hdf5"},
    "zoo": {"models", "losses", "training", "weights", "errors"},
}
FREE = {"cli", "__init__", "__main__"}
NETWORKS = ["generator", "discriminator"]


def modules():
    return sorted(ROOT.rglob("*.py"))


def room(path):
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path):
    """(room, line) of every import of our own, and a hidden `import tfrecon` as room "tfrecon"."""
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            yield from ((name, node.lineno) for name in names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if any(name.split(".")[0] == "tfrecon" for name in names):
                yield "tfrecon", node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_import_law(path):
    own = room(path)
    if own in FREE:
        return
    for other, line in imported_rooms(path):
        assert other == own or other in LAW[own], f"{path}:{line}: {own} must not import {other}"


def test_the_law_has_no_cycle():
    seen = set()

    def visit(name, above):
        assert name not in above, f"cycle: {' -> '.join([*above, name])}"
        if name not in seen:
            for other in LAW[name]:
                visit(other, [*above, name])
            seen.add(name)

    for name in LAW:
        visit(name, [])


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is_for_and_stays_small(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert len(text.splitlines()) <= 400, f"{path} is too long: is it two rooms?"


def test_importing_and_help_stay_light():
    code = (
        "import sys, tfrecon, tfrecon.cli, tfrecon.zoo\n"
        "try: tfrecon.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'matplotlib', 'skimage', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_public_names_and_least_arguments():
    """API.md's names, as far as they exist, with the arguments and defaults it fixes."""
    from tfrecon import data, losses, metrics, models, physics, training, transforms, weights

    for function, least in {
        models.unet_gan.generator_model: {"image_shape": (320, 320, 1), "out_channels": 2, "bilinear": True},
        models.unet_gan.discriminator_model: {"image_shape": (320, 320, 1)},
        data.create_paired_dataset: {"path": inspect.Parameter.empty, "task": "masked", "batch_size": 8, "target": None},
        physics.masks.random_mask: dict.fromkeys(["width", "center_fractions", "accelerations"], inspect.Parameter.empty),
        tfrecon.create: {"name": inspect.Parameter.empty, "weights": None},
        weights.load_weights: dict.fromkeys(["model", "source"], inspect.Parameter.empty),
        training.UNetGAN: dict.fromkeys(["generator", "discriminator"], inspect.Parameter.empty),
        models.deblurgan_mri.generator_model: {"image_shape": (256, 256, 3), "ngf": 64, "n_blocks": 9, "dropout": 0.5},
        models.deblurgan_mri.discriminator_model: {"image_shape": (256, 256, 3), "ndf": 64},
        models.deblurgan_mri.generator_containing_discriminator: dict.fromkeys(NETWORKS, inspect.Parameter.empty),
        models.deblurgan_mri.generator_containing_discriminator_multiple_outputs: dict.fromkeys(
            NETWORKS, inspect.Parameter.empty),
        models.ct_deblur.generator_model: {"image_shape": (256, 256, 3), "ngf": 64, "n_blocks": 9, "norm": "instance",
                                           "learn_residual": True, "dropout": 0.5},
        models.ct_deblur.discriminator_model: {"image_shape": (256, 256, 3), "ndf": 64, "n_layers": 3, "norm": "instance",
                                               "use_sigmoid": False},
        training.DeblurGAN: {**dict.fromkeys(NETWORKS, inspect.Parameter.empty), "critic_updates": 5},
        training.CTDeblurGAN: {**dict.fromkeys(NETWORKS, inspect.Parameter.empty), "critic_updates": 5,
                               "gradient_penalty_weight": 10},
        models.srrescycgan.Generator_HR: {"input_shape": (80, 80, 3)},
        models.srrescycgan.Generator_LR: {"input_shape": (320, 320, 3)},
        models.srrescycgan.Discriminator_HR: {"input_shape": (320, 320, 3)},
        models.srrescycgan.Discriminator_LR: {"input_shape": (80, 80, 3)},
        models.srrescycgan.SRResDNet: {"input_shape": (80, 80, 3), "scale": 4, "depth": 5},
        training.SRResCycGAN: {**dict.fromkeys(["G_HR", "G_LR", "D_HR", "D_LR"]), "lambda_cyc": 10.0, "lambda_content": 5.0},
        training.SRResCycGAN.compile: dict.fromkeys(
            ["g_hr_optimizer", "d_hr_optimizer", "g_lr_optimizer", "d_lr_optimizer", "losses"]),
        training.adam_opt: {"lr": 1e-4, "b1": 0.9, "b2": 0.999, "decay_steps": 1e4, "decay_rate": 0.5},
        training.Pix2Pix: dict.fromkeys(NETWORKS, inspect.Parameter.empty),
        models.unrolled.resnet_denoiser: {"latent_channels": 64, "num_blocks": 3, "kernel_size": 7, "batch_norm": False},
        models.unrolled.unet_denoiser: {"depth": 4, "width": 32},
        models.unrolled.cnn_denoiser: {"layers": 5, "features": 64},
        models.unrolled.MoDL: {"num_unrolls": 4, "cg_start": "previous"},
        models.unrolled.DeepBasisPursuit: {"num_unrolls": 4, "num_admm": 2, "stdev": 0.0},
        training.UnrolledRecon: {"supervised": True},
        models.spline_flow.spline_flow_model: {
            "image_shape": (80, 64, 1), "levels": 4, "steps_per_level": 10, "hidden_channels": 612, "num_bins": 12,
            "tail_bound": 1.0, "num_bits": 4, "multi_scale": True, "conditioner": "convnet"},
        training.SplineFlowTrainer: {"flow": None},
        losses.PerceptualLoss: {"backbone": "vgg19", "layer": "block3_conv3", "pre_activation": False, "distance": "mse",
                                "preprocess": None, "weights": "imagenet"},
        losses.gradient_penalty: {"weight": 10.0, "norm": "pixel", **dict.fromkeys(
            ["discriminator", "real", "fake", "alpha"], inspect.Parameter.empty)},
    }.items():
        parameters = inspect.signature(function).parameters
        for name, default in least.items():
            assert parameters[name].default == default, f"{function.__name__}({name})"
    for function in (metrics.nmse, metrics.psnr, metrics.ssim):
        assert list(inspect.signature(function).parameters)[:2] == ["target", "prediction"]
    assert callable(physics.fft2c) and callable(physics.ifft2c) and callable(transforms.center_crop)
    names = {"zero_filled", "unet_gan", "deblurgan_mri", "ct_deblur", "srrescycgan", "srresdnet", "cg_sense", "modl",
             "deep_basis_pursuit", "spline_flow"}
    assert names <= set(tfrecon.list_models())


def test_names_of_the_command_line_are_those_of_the_library():
    from tfrecon import losses
    from tfrecon.cli.training_options import COIL_MAPS, LOSS_NAMES, OPTIMIZER_NAMES
    from tfrecon.physics.coil_maps import METHODS
    from tfrecon.training.optimizers import OPTIMIZERS

    assert set(LOSS_NAMES) == set(losses.LOSSES) and set(OPTIMIZER_NAMES) == set(OPTIMIZERS)
    assert set(COIL_MAPS) == {"auto", "file", *METHODS}


@pytest.mark.parametrize("room_name", ["physics", "models", "layers", "losses", "metrics", "data", "training", "weights",
                                       "reconstruction", "report", "transforms", "zoo", "hdf5"])
def test_public_functions_are_documented(room_name):
    module = getattr(tfrecon, room_name)
    for name in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]):
        item = getattr(module, name)
        if callable(item) and getattr(item, "__module__", "").startswith("tfrecon"):
            assert inspect.getdoc(item), f"{room_name}.{name} has no docstring"
