"""The report: figures that never fail on broken images, tables that say what lost, pages that need nothing else."""

import base64
import html.parser
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tfrecon import report
from tfrecon.errors import DataError, ResourceError, UsageError
from tfrecon.report import Code, KeyValues, Picture, Section, Table, Text

ROWS = [
    {"name": "unet", "nmse": 0.02, "nmse_sd": 0.01, "psnr": 31.0, "psnr_sd": 1.5, "ssim": 0.82, "ssim_sd": 0.02, "n": 5},
    {"name": "gan", "nmse": 0.03, "nmse_sd": 0.01, "psnr": 26.0, "psnr_sd": 1.5, "ssim": 0.65, "ssim_sd": 0.02, "n": 5},
    {"name": "one", "nmse": None, "psnr": float("nan"), "ssim": 0.8, "n": 1},
    {"name": "zero_filled", "nmse": 0.04, "nmse_sd": 0.01, "psnr": 27.0, "psnr_sd": 1.1, "ssim": 0.66, "ssim_sd": 0.04,
     "n": 5},
]


class Page(html.parser.HTMLParser):
    """Collects the tags with their attributes, and the text, as a browser would see them."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def pixels(figure):
    """Draw for real: most failures of a figure appear only when it is rendered."""
    return report.figure_to_data_uri(figure)


def pictures():
    rng = np.random.default_rng(0)
    usual = rng.random((12, 10))
    spoiled = usual.copy()
    spoiled[3, 4], spoiled[5, 5] = np.nan, np.inf
    return {"usual": usual, "zero": np.zeros((12, 10)), "constant": np.full((12, 10), 3.0), "negative": -usual,
            "all nan": np.full((12, 10), np.nan), "spoiled": spoiled, "complex nan": spoiled * (1 + 1j)}


@pytest.mark.parametrize("kind", pictures())
def test_broken_images_are_drawn_without_warnings(kind):
    image = pictures()[kind]
    pixels(report.show_slices(np.stack([image, image]), [0, 1]))
    panel = report.reconstruction_panel(image, np.ones(10), image, image, image)
    pixels(panel)
    tops = [axes.images[0].get_clim()[1] for axes in panel.axes]
    assert np.isfinite(tops).all() and min(tops) > 0
    pixels(report.strip([(image, image, image), (image, image, image)], ["a", "b"]))


def test_figures_show_themselves_in_notebooks():
    """Without pyplot nothing else does: a cell would end in the figure's name."""
    figure = report.show_slices(np.ones((1, 8, 8)), [0])
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_panel_leaves_out_what_is_none_and_states_its_windows():
    image = pictures()["usual"] * 5e-4
    figure = report.reconstruction_panel(None, None, image, None, 2 * image)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.split("\n")[0] for title in titles] == ["zero-filled", "target", "error ×5"]
    high = 2 * image.max()
    assert f"{high:.3g}" in titles[0] and f"{high / 5:.3g}" in titles[2]
    limits = [axes.images[0].get_clim() for axes in figure.axes]
    np.testing.assert_allclose(limits, [(0, high), (0, high), (0, high / 5)])
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), image)


def test_strip_has_one_window_per_row():
    image = pictures()["usual"]
    figure = report.strip([(image, image, image), (image, 10 * image, 10 * image)])
    tops = [axes.images[0].get_clim()[1] / image.max() for axes in figure.axes]
    np.testing.assert_allclose(tops, [1, 1, 1, 0.2, 10, 10, 10, 2])


def test_mask_of_any_broadcastable_shape_and_its_sampled_share():
    mask = np.zeros((1, 1, 10, 1))
    mask[..., :4, :] = 1
    figure = report.reconstruction_panel(pictures()["usual"], mask, None, None, None)
    assert figure.axes[1].images[0].get_array().shape == (12, 10)
    assert "40 %" in figure.axes[1].get_title()


@pytest.mark.parametrize("call", [
    lambda: report.reconstruction_panel(None, None, None, None, None),
    lambda: report.reconstruction_panel(None, None, None, np.ones((4, 4)), np.ones((5, 4))),
    lambda: report.show_slices(np.ones((2, 4, 4)), [2]),
    lambda: report.strip([], []),
    lambda: report.strip([(np.ones((3, 3)),) * 3], ["a", "b"]),
    lambda: report.curves({}),
    lambda: report.comparison({}),
])
def test_figures_refuse_what_they_cannot_draw(call):
    with pytest.raises(UsageError, match="expected"):
        call()


def test_curves_pair_training_with_validation():
    figure = report.curves({"loss": [1.0, 1e-3, float("nan")], "val_loss": [2.0, 1.0], "ssim": [0.5, 0.6], "dead": [np.nan]})
    pixels(figure)
    drawn = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title() for axes in drawn] == ["loss", "ssim", "dead"]
    assert len(drawn[0].lines) == 2
    assert [axes.get_yscale() for axes in drawn] == ["log", "linear", "linear"]


def test_comparison_shows_mean_folds_and_baseline():
    folds = np.array([[0.5, 0.6, np.nan], [0.7, 0.8, np.nan]])
    figure = report.comparison({"_odd $name": folds}, baseline=0.55)
    pixels(figure)
    mean, *marks, baseline = figure.axes[0].lines
    np.testing.assert_allclose(mean.get_ydata(), [0.6, 0.7, np.nan])
    np.testing.assert_allclose([mark.get_ydata() for mark in marks], folds)
    assert baseline.get_linestyle() == "--" and set(baseline.get_ydata()) == {0.55}
    assert len(figure.axes[0].get_legend().get_texts()) == 2


def test_importing_the_report_and_drawing_leaves_pyplot_alone():
    code = ("import sys, tfrecon.report as r; assert 'matplotlib' not in sys.modules; r.curves({'a': [1.0]});"
            "assert 'matplotlib.pyplot' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.path.dirname(os.path.dirname(__file__)))


def test_equal_figures_make_equal_files(tmp_path):
    paths = [report.save_figure(report.curves({"loss": [1.0, 0.5]}), tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_table_puts_the_baseline_first_and_names_who_lost():
    lines = report.metrics_table(ROWS).splitlines()
    assert lines[2].startswith("zero_filled (baseline)")
    assert [line.split()[0] for line in lines[3:6]] == ["unet", "gan", "one"]
    assert lines[4].count("!") == 2 and "!" not in lines[3] + lines[5] + lines[2]
    assert "! gan is below the baseline (zero_filled) in PSNR, SSIM." in lines
    assert len({line.index("±") for line in lines[2:5]}) == 1, "columns must line up"


def test_table_prints_missing_values_as_such():
    line = report.metrics_table(ROWS).splitlines()[5]
    assert re.split(r"\s{2,}", line) == ["one", "n/a", "n/a", "0.8000 ± n/a", "1"]
    single = report.metrics_table([{"name": "x", "ssim": 0.5, "ssim_sd": 0.0, "n": 1}], ["ssim"])
    assert "0.5000 ± n/a" in single, "one volume has no deviation, whatever was passed"


def test_lower_nmse_is_better_than_the_baseline():
    rows = [{"name": "zero-filled", "nmse": 0.04}, {"name": "good", "nmse": 0.03}, {"name": "bad", "nmse": 0.05}]
    text = report.metrics_table(rows, ["nmse"])
    assert "bad is below" in text and "good is below" not in text
    table = report.metrics_table_block(rows, ["nmse"])
    assert table.flags == {(1, 1): "best", (2, 1): "below"}
    rounded = report.metrics_table([rows[0], {"name": "same", "nmse": 0.04 * (1 + 1e-9)}], ["nmse"])
    assert "below" not in rounded, "scores that differ by rounding alone are equal"


def test_a_table_says_what_it_counts():
    assert "over n folds" in report.metrics_table([{"name": "a", "ssim": 0.5, "n": 5}], ["ssim"], counted="folds")


def test_markdown_is_a_table_whatever_the_names():
    rows = [*ROWS, {"name": "a|b\n<script>", "ssim": 0.9}]
    lines = report.metrics_markdown(rows).split("\n\n")[0].splitlines()
    assert len(lines) == 2 + len(rows)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert "<script" not in report.metrics_markdown(rows)


def test_html_table_escapes_and_marks():
    source = report.metrics_html([*ROWS, {"name": "<b>x", "ssim": 0.1, "n": 2}])
    page = Page(source)
    assert not page.all("b") and "<b>x" in page.text
    assert [cell.get("class") for cell in page.all("td")].count("below") == 3


def test_row_without_a_name_is_refused():
    with pytest.raises(UsageError, match="name"):
        report.metrics_table([{"ssim": 0.5}])


EVIL = '<script>alert("x")</script><img src=http://evil.example/x.png> & \x00\ud800'


def evil_sections(count=6):
    figure = report.curves({"loss": [1.0, 0.5]})
    blocks = [Text(EVIL + "\n\nsecond"), Text(EVIL, warning=True), Table([EVIL, "b"], [[EVIL, EVIL]], EVIL, [EVIL]),
              Picture(figure, EVIL), KeyValues({EVIL: EVIL}), Code(EVIL, EVIL), report.metrics_table_block(ROWS)]
    return [Section(f"{EVIL} {n}", blocks if n == 0 else [Text("x")]) for n in range(count)]


def test_page_is_self_contained_and_every_text_escaped(tmp_path):
    path = report.write_html(tmp_path / "r.html", EVIL, evil_sections(), subtitle=EVIL)
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action"):
            assert re.match(r"data:image/png;base64,|#", attributes.get(name) or "#")
    style = source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "\x00" not in source


def test_plain_page_names_no_address_at_all(tmp_path):
    sections = [Section("a", [Picture(report.curves({"loss": [1.0]}), "c"), report.metrics_table_block(ROWS)])]
    source = report.write_html(tmp_path / "r.html", "t", sections).read_text(encoding="utf-8")
    assert not re.search(r"https?://|file://|//", re.sub(r'base64,[^"]*', "", source))


def test_pictures_are_inlined_whole_and_described(tmp_path):
    figure = report.curves({"loss": [1.0, 0.5]})
    png = report.save_figure(figure, tmp_path / "f.png")
    blocks = [Picture(figure, "c1", "alt"), Picture(png, "c2"), Picture(str(png), "c3"), Picture(png.read_bytes(), "c4"),
              Picture(report.figure_to_data_uri(figure), "c5")]
    page = Page(report.write_html(tmp_path / "r.html", "t", [Section("s", blocks)]).read_text(encoding="utf-8"))
    images = page.all("img")
    assert [image["alt"] for image in images] == ["alt", "c2", "c3", "c4", "c5"]
    assert {base64.b64decode(image["src"].split(",")[1]) for image in images} == {png.read_bytes()}
    assert len(page.all("figcaption")) == 5


@pytest.mark.parametrize("image, error", [
    ("data:text/html;base64,PHNjcmlwdD4=", UsageError),
    ('data:image/png;base64,AAAA" onerror="alert(1)', UsageError),
    (b"<svg onload='x'>", DataError),
    ("missing.png", DataError),
    (7, UsageError),
])
def test_only_real_pictures_are_inlined(tmp_path, image, error):
    with pytest.raises(error, match="expected"):
        report.write_html(tmp_path / "r.html", "t", [Section("s", [Picture(image, "c")])])
    assert os.listdir(tmp_path) == []


def test_contents_appear_only_on_long_pages_and_lead_somewhere(tmp_path):
    short, long = (Page(report.write_html(tmp_path / "r.html", "t", evil_sections(n)).read_text()) for n in (4, 5))
    assert not short.all("nav") and long.all("nav")
    targets = {attributes.get("id") for attributes in long.all("section")}
    assert {link["href"].lstrip("#") for link in long.all("a")} == targets and len(targets) == 5


def test_ragged_table_and_unknown_block_are_refused(tmp_path):
    for block in (Table(["a", "b"], [["x"]]), "bare text"):
        with pytest.raises(UsageError, match="expected"):
            report.write_html(tmp_path / "r.html", "t", [Section("s", [block])])


@pytest.mark.parametrize("write", [
    lambda path: report.write_html(path, "t", [Section("s", [Text("x")])]),
    lambda path: report.save_figure(report.curves({"a": [1.0]}), path),
])
def test_failed_write_is_a_clean_error_and_leaves_nothing(tmp_path, monkeypatch, write):
    old = tmp_path / "old"
    old.write_text("old")
    with pytest.raises(ResourceError, match="Check that the folder"):
        write(old / "file")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="No space left"):
        write(old)
    assert os.listdir(tmp_path) == ["old"] and old.read_text() == "old"
