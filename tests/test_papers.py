"""What the project says about itself holds: README commands, CI, notebooks, metadata."""

import configparser
import importlib.util
import json
import os
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


@pytest.mark.parametrize("notebook", [
    "00_quickstart", "01_kspace_masks_and_metrics",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("04_srrescycgan", "09_export_and_serve")),
])
def test_notebook_runs(tmp_path, monkeypatch, notebook):
    """The cells, tiny, as plain Python; their own asserts say whether the result is right."""
    monkeypatch.setitem(os.environ, "TFRECON_FAST", "1")
    monkeypatch.setitem(os.environ, "TFRECON_WORK", str(tmp_path))
    names = {}
    for cell in json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and "%pip" not in text:
            exec(compile(text, notebook, "exec"), names)
    if notebook in ("00_quickstart", "04_srrescycgan"):
        assert (tmp_path / "saved_model").is_dir() and names["result"].complete
