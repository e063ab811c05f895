"""No identifier of a patient in anything a command writes or prints, and no input changed by any (row 47)."""

import pytest
from cli_tools import TINY, call, disc, fingerprint, volume

SECRET = "SECRET^NAME"


pytestmark = pytest.mark.usefixtures("tiny_unet")


@pytest.fixture
def data(tmp_path):
    header = f"<ismrmrdHeader><subjectInformation><patientName>{SECRET}</patientName></subjectInformation></ismrmrdHeader>"
    for seed, name in enumerate("abcd"):
        more = {"patient_id": f"{SECRET}{seed // 2}", "patient_name": SECRET, "operator": SECRET}
        path = volume(tmp_path / "data" / f"{name}.h5", more, images=disc(2, 36, 32, seed), ismrmrd_header=header)
        path.chmod(0o444)
    (tmp_path / "data" / "broken.h5").write_bytes((tmp_path / "data" / "a.h5").read_bytes()[:4000])
    return tmp_path / "data"


def test_no_identifier_leaves_and_no_input_changes(capsys, caplog, data, tmp_path):
    out, before, said = tmp_path / "out", fingerprint(data), []

    def run(*argv, code=3):
        result = call(capsys, *argv)
        assert result.code == code, result.err
        said.append(result.out + result.err)

    run("inspect", data, "--deep", "--picture", out / "picture.png")
    run("inspect", data, "--json")
    run("train", "--data", data, "--out", out / "run", *TINY, "--epochs", 1)
    run("train", "--data", data, "--validation", data / "a.h5", "--out", out / "leak", *TINY)
    run("reconstruct", data, out / "zero_filled", "--model", "zero_filled")
    run("reconstruct", data, out / "network", "--weights", out / "run" / "generator.weights.h5", "--json")
    run("evaluate", out / "network", "--target", data, code=1)  # none for the broken one
    run("evaluate", out / "network", "--target", data, "--json", code=1)
    run("report", out / "run", out / "network", "--target", data, "-o", out / "report.html", code=1)
    run("report", out / "run", out / "network", "--target", data, "-o", out / "report.md", code=1)
    run("compare", "--data", data, "--out", out / "compare", "--folds", 3)
    run("train", "--data", data, "--out", data, code=2)
    assert fingerprint(data) == before
    assert not any("SECRET" in text for text in (*said, caplog.text))
    assert "patient-01" in said[0] and "patient-02" in said[0]
    written = [p for p in out.rglob("*") if p.is_file()]
    assert {"run.json", "picture.png", "a.h5", "history.json"} <= {p.name for p in written}
    for path in written:
        assert b"SECRET" not in path.read_bytes(), path
