"""Figures, tables and one-file HTML pages made from numbers and arrays; nothing here knows a model or a file format."""

from .blocks import Code, KeyValues, Picture, Section, Table, Text
from .card import model_card
from .figures import comparison, curves, grid, reconstruction_panel, show_slices, strip
from .html import write_html
from .images import figure_to_data_uri, save_figure
from .tables import metrics_html, metrics_markdown, metrics_table, metrics_table_block

__all__ = [
    "Code",
    "KeyValues",
    "Picture",
    "Section",
    "Table",
    "Text",
    "comparison",
    "curves",
    "figure_to_data_uri",
    "grid",
    "metrics_html",
    "metrics_markdown",
    "metrics_table",
    "metrics_table_block",
    "model_card",
    "reconstruction_panel",
    "save_figure",
    "show_slices",
    "strip",
    "write_html",
]
