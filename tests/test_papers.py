"""What the project says about itself holds: README commands, CI, notebooks, metadata."""

import configparser
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""


def commands():
    return [line for block in re.findall(r"```(?:sh|bash)\n(.*?)```", README, re.S) for line in block.splitlines()]


def test_ci_runs_the_readmes_test_command_to_the_letter():
    last = (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert "pytest" in last and last in commands()


def test_readme_names_commands_that_exist():
    from tfrecon.cli import _COMMANDS

    named = {m for line in commands() for m in re.findall(r"(?:^|/|\s)tfrecon ([a-z]+)", line)}
    assert named and named <= set(_COMMANDS)


def test_links_in_the_papers_lead_somewhere():
    for paper in [*ROOT.glob("*.md"), *ROOT.glob("*/README.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", paper.read_text()):
            assert target.startswith("http") or (paper.parent / target).exists(), f"{paper.name}: {target}"


def test_requirements_are_loose_and_name_no_addons():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = config["options"]["install_requires"] + "".join(config["options.extras_require"].values())
    assert "==" not in needed and "<" not in needed and "addons" not in needed
    assert set(config["options.extras_require"]) >= {"test", "notebooks", "onnx", "torch", "dicom", "benchmark"}
    assert len((ROOT / "pyproject.toml").read_text().splitlines()) == 3


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_are_stripped_and_portable(path):
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            assert "%pip" in text or not re.search(r"^\s*[%!]", text, re.M)
        assert not re.search(r"(?<![\w.])/(home|work|root|content|tmp)/", text)


def test_notebooks_are_made_of_their_scripts():
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    assert {p.stem for p in build.sources()} == {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")}
    for source in build.sources():
        assert source.with_suffix(".ipynb").read_text() == build.notebook(source.read_text()), "run python notebooks/build.py"


QUICK = ("00_quickstart", "01_kspace_masks_and_metrics")
EXPORTING = ("00_quickstart", "02_deblurgan_mri", "04_srrescycgan", "05_ct_motion_deblur")


def test_the_readme_lists_every_notebook():
    """One nobody is told of is not found."""
    for source in (ROOT / "notebooks").glob("[0-9]*.py"):
        assert f"notebooks/{source.stem}.ipynb" in README, source.name


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.py")), ids=lambda p: p.name)
def test_notebooks_share_their_shape(path):
    """Install where missing, tiny on demand, a folder of their own, no download, and asserts in the last cell."""
    text = path.read_text()
    for shared in ('find_spec("tfrecon")', 'os.environ.get("TFRECON_FAST", "")', 'os.environ.get("TFRECON_WORK", '):
        assert shared in text
    assert "assert " in text.split("# %%")[-1]


@pytest.mark.parametrize("notebook", [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))
])
def test_notebook_runs(tmp_path, monkeypatch, notebook):
    """The cells, tiny, as plain Python; their own asserts say whether the result is right."""
    # Those with data of their own would leave the phantoms; the last is set by a notebook and must not outlive it.
    for name in ("TFRECON_DATA", "TFRECON_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TFRECON_FAST": "1", "TFRECON_WORK": tmp_path, "KAGGLEHUB_CACHE": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    names = {}
    for cell in json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and "%pip" not in text:
            exec(compile(text, notebook, "exec"), names)
    if notebook in EXPORTING:
        assert (tmp_path / "saved_model").is_dir() and names["result"].complete
