"""The table of results in three forms (plain text, Markdown, HTML), with the baseline first and losses against it said.

A row is a dictionary: "name", the metrics, optionally "<metric>_sd" and "n" (number of volumes, or what `counted` says). What
is None or NaN is printed as n/a; text, as it is: what a source reports stands beside a result, but is not ranked with it. A
method that is worse than the baseline in any metric is marked and named in a note.
"""

import math
from collections.abc import Mapping, Sequence

from ..errors import UsageError
from .blocks import Table
from .html import render_table
from .markdown import table_markdown

DIGITS = {"psnr": 2, "psnr_uint8": 2, "seconds": 2}  # four digits otherwise
LOWER_IS_BETTER = frozenset({"nmse", "nrmse", "mse", "mae", "l1", "loss", "bits_per_dim"})
HIGHER_IS_BETTER = frozenset({"psnr", "psnr_uint8", "ssim", "ssim_slice", "ssim_gaussian", "ssim_prediction_range"})
Row = Mapping[str, object]
_EQUAL = 1e-6  # relative: scores of one image computed in two ways differ by rounding


def _number(value: object) -> float | None:
    """A number, or None for what cannot be printed as one."""
    if value is None or isinstance(value, str):
        return None
    number = float(value)
    return None if math.isnan(number) else number


def _cell(row: Row, column: str) -> str:
    if isinstance(row.get(column), str):
        return str(row[column])
    value = _number(row.get(column))
    if value is None:
        return "n/a"
    digits = DIGITS.get(column, 4)
    if f"{column}_sd" not in row and (row.get("n") is None or column == "seconds"):
        return f"{value:.{digits}f}"
    deviation = _number(row.get(f"{column}_sd"))
    if deviation is None or row.get("n") == 1:  # one volume has no deviation
        return f"{value:.{digits}f} ± n/a"
    return f"{value:.{digits}f} ± {deviation:.{digits}f}"


def _plain(name: object) -> str:
    return str(name).lower().replace("_", " ").replace("-", " ").strip()


def _baseline_first(rows: Sequence[Row], baseline: str) -> tuple[list[Row], Row | None]:
    for row in rows:
        if "name" not in row:
            raise UsageError(f"rows: expected a 'name' in each row, received the keys {sorted(row)}; name the method.")
    reference = next((row for row in rows if _plain(row["name"]) == _plain(baseline)), None)
    return sorted(rows, key=lambda row: row is not reference), reference  # a stable sort keeps the others' order


def _below(row: Row, reference: Row | None, column: str) -> bool:
    """Whether this value is worse than the baseline's; metrics without a known direction are not judged."""
    if reference is None or row is reference:
        return False
    value, base = _number(row.get(column)), _number(reference.get(column))
    if value is None or base is None:
        return False
    if math.isclose(value, base, rel_tol=_EQUAL):
        return False
    return value > base if column in LOWER_IS_BETTER else column in HIGHER_IS_BETTER and value < base


def _best(rows: Sequence[Row], column: str) -> int | None:
    """Index of the best row, when there is more than one to choose from and a direction to judge by."""
    values = [(number, n) for n, row in enumerate(rows) if (number := _number(row.get(column))) is not None]
    if len(values) < 2 or column not in LOWER_IS_BETTER | HIGHER_IS_BETTER:
        return None
    return (min(values) if column in LOWER_IS_BETTER else max(values))[1]


def _notes(rows: Sequence[Row], columns: Sequence[str], reference: Row | None, counted: str) -> list[str]:
    notes = []
    for row in rows:
        worse = [column.upper() for column in columns if _below(row, reference, column)]
        if worse:
            notes.append(f"! {row['name']} is below the baseline ({reference['name']}) in {', '.join(worse)}.")
    directions = [f"{c.upper()}: {'lower' if c in LOWER_IS_BETTER else 'higher'} is better" for c in columns
                  if c in LOWER_IS_BETTER | HIGHER_IS_BETTER]
    notes.append("; ".join(directions) + "." if directions else "")
    if any(f"{column}_sd" in row or row.get("n") is not None for row in rows for column in columns):
        notes.append(f"Mean ± standard deviation over n {counted}.")
    return [note for note in notes if note]


def metrics_table_block(rows: Sequence[Row], columns: Sequence[str] = ("nmse", "psnr", "ssim"),
                        baseline: str = "zero-filled", caption: str = "", counted: str = "volumes") -> Table:
    """The results as a `Table` block for `write_html`; the other forms are printed from it.

    Args:
        rows: one dictionary per method.
        columns: which metrics, in this order.
        baseline: name of the baseline's row ("zero-filled" also finds "zero_filled"); it is put first.
        caption: printed above the table on a page.
        counted: what n is the number of.
    """
    ordered, reference = _baseline_first(rows, baseline)
    with_n = any(row.get("n") is not None for row in ordered)
    flags, cells = {}, []
    best = {column: _best(ordered, column) for column in columns}
    for n, row in enumerate(ordered):
        name = f"{row['name']} (baseline)" if row is reference else str(row["name"])
        line = [name]
        for k, column in enumerate(columns, start=1):
            below = _below(row, reference, column)
            line.append(_cell(row, column) + (" !" if below else ""))
            if below or best[column] == n:
                flags[n, k] = "below" if below else "best"
        cells.append(line + ([str(row.get("n", "n/a"))] if with_n else []))
    header = ["method", *(column.upper() for column in columns), *(["n"] if with_n else [])]
    return Table(header, cells, caption, _notes(ordered, columns, reference, counted), flags)


def volumes_table_block(volumes: Mapping[str, Mapping[str, Row | None]], columns: Sequence[str] = ("nmse", "psnr", "ssim"),
                        baseline: str = "zero-filled", caption: str = "") -> Table:
    """A row for every volume and method, values worse than that volume's baseline marked.

    Args:
        volumes: volume -> method -> its metrics, or None where the method has none there.
        columns, baseline, caption: as in `metrics_table_block`; the baseline's row is the first of each volume.
    """
    lines, flags = [], {}
    for volume, methods in volumes.items():
        rows = [{"name": name, **scores} for name, scores in methods.items() if scores]
        ordered, reference = _baseline_first(rows, baseline)
        for row in ordered:
            worse = [_below(row, reference, column) for column in columns]
            flags.update({(len(lines), k): "below" for k, below in enumerate(worse, start=2) if below})
            cells = [_cell(row, column) + (" !" if below else "") for column, below in zip(columns, worse)]
            lines.append([volume, row["name"], *cells])
    header = ["volume", "method", *(column.upper() for column in columns)]
    return Table(header, lines, caption, ["!: worse than the baseline of the same volume."] if flags else [], flags)


def metrics_table(rows: Sequence[Row], columns: Sequence[str] = ("nmse", "psnr", "ssim"),
                  baseline: str = "zero-filled", counted: str = "volumes") -> str:
    """The results as aligned plain text; arguments as in `metrics_table_block`."""
    table = metrics_table_block(rows, columns, baseline, counted=counted)
    lines = [list(map(str, line)) for line in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*text, *table.notes])


def metrics_markdown(rows: Sequence[Row], columns: Sequence[str] = ("nmse", "psnr", "ssim"),
                     baseline: str = "zero-filled", counted: str = "volumes") -> str:
    """The results as a Markdown table with its notes; arguments as in `metrics_table_block`."""
    return table_markdown(metrics_table_block(rows, columns, baseline, counted=counted))


def metrics_html(rows: Sequence[Row], columns: Sequence[str] = ("nmse", "psnr", "ssim"),
                 baseline: str = "zero-filled") -> str:
    """The results as an HTML fragment; arguments as in `metrics_table_block`."""
    return render_table(metrics_table_block(rows, columns, baseline))
