"""Figures, tables, one-file HTML pages and Markdown made from numbers and arrays; nothing here knows a model or a file format."""

from .blocks import Code, KeyValues, Picture, Section, Table, Text
from .card import model_card
from .figures import comparison, curves, errors_below, grid, reconstruction_panel, show_slices, strip
from .html import write_html
from .images import figure_to_data_uri, figure_to_png, save_figure
from .markdown import images_folder, write_markdown
from .tables import metrics_html, metrics_markdown, metrics_table, metrics_table_block, volumes_table_block

__all__ = [
    "Code",
    "KeyValues",
    "Picture",
    "Section",
    "Table",
    "Text",
    "comparison",
    "curves",
    "errors_below",
    "figure_to_data_uri",
    "figure_to_png",
    "grid",
    "images_folder",
    "metrics_html",
    "metrics_markdown",
    "metrics_table",
    "metrics_table_block",
    "model_card",
    "reconstruction_panel",
    "save_figure",
    "show_slices",
    "strip",
    "volumes_table_block",
    "write_html",
    "write_markdown",
]
