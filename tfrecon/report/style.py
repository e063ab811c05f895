"""The style sheet of the report page: one column of text, quiet tables, light and dark, and a form for printing."""

STYLE = """
:root { --ink: #1d2330; --soft: #5b6475; --line: #d9dee7; --paper: #ffffff; --tint: #f5f7fa; --accent: #1f5fa8;
  --bad: #b3261e; --bad-tint: #fdf1ef; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #a2abba; --line: #343c4a; --paper: #14181f;
  --tint: #1c222b; --accent: #7db4f0; --bad: #ff9a8f; --bad-tint: #33201f; --good: #7fd6a0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.6 Charter, "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif; overflow-wrap: anywhere; }
header { border-bottom: 2px solid var(--ink); padding-bottom: 1rem; margin-bottom: 1.5rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 2.75rem 0 0.75rem; }
.subtitle { color: var(--soft); margin: 0.5rem 0 0; }
p { max-width: 44rem; margin: 0.75rem 0; }
nav, dl, table, figcaption, .caption, .notes { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
nav { font-size: 0.92rem; }
nav ol { columns: 2 16rem; margin: 0; padding-left: 1.4rem; color: var(--soft); }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.warning { border-left: 4px solid var(--bad); background: var(--bad-tint); padding: 0.35rem 1rem; margin: 1rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0 0.5rem; background: linear-gradient(to right, var(--paper) 30%, transparent),
  linear-gradient(to left, var(--paper) 30%, transparent) right, linear-gradient(to right, var(--line), transparent),
  linear-gradient(to left, var(--line), transparent) right; background-repeat: no-repeat;
  background-size: 2.5rem 100%, 2.5rem 100%, 0.9rem 100%, 0.9rem 100%;
  background-attachment: local, local, scroll, scroll; }
.caption + .scroll { margin-top: 0.4rem; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; min-width: min(100%, 34rem);
  border-bottom: 1.5px solid var(--ink); }
.caption { font-size: 0.92rem; color: var(--soft); margin: 1rem 0 0; }
th, td { padding: 0.42rem 0.9rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0.3rem; font-weight: 500; white-space: normal;
  min-width: 8rem; overflow-wrap: break-word; }
thead th { border-top: 1.5px solid var(--ink); border-bottom: 1px solid var(--ink); font-weight: 600; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
td.best { font-weight: 700; color: var(--good); }
td.below { color: var(--bad); }
.notes { list-style: none; margin: 0 0 1rem; padding: 0; font-size: 0.85rem; color: var(--soft); }
figure { margin: 1.25rem 0; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; background: #ffffff; border-radius: 3px; }
figcaption { font-size: 0.87rem; color: var(--soft); margin-top: 0.5rem; max-width: 44rem; }
dl { font-size: 0.92rem; margin: 1rem 0; border-top: 1px solid var(--line); }
dl div { display: grid; grid-template-columns: minmax(8rem, 15rem) 1fr; gap: 1rem; padding: 0.35rem 0.3rem;
  border-bottom: 1px solid var(--line); }
dt { color: var(--soft); }
dd { margin: 0; }
pre { overflow-x: auto; background: var(--tint); border: 1px solid var(--line); border-radius: 4px; margin: 0.4rem 0;
  padding: 0.8rem 1rem; font: 0.85rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: normal; }
@media (max-width: 36rem) { body { padding-top: 1.5rem; } h1 { font-size: 1.6rem; }
  .wide img { width: 36rem; max-width: none; }
  table { font-size: 0.82rem; min-width: 0; }
  th, td { padding: 0.4rem 0.45rem; }
  th:first-child { min-width: 5.5rem; }
  dl div { grid-template-columns: 1fr; gap: 0; } }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  figure, tr, .warning { break-inside: avoid; } h2 { break-after: avoid; } }
"""
