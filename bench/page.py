# SPDX-License-Identifier: MIT
"""page - what was measured as one HTML file: a plot for each metric, with the range of the rounds, and the tables."""
import html
import math
import statistics

from measure import is_measured, sentence, table, verdicts

ROW, BAR = 22, 14            # heights
LABEL, PLOT, VALUE = 120, 260, 76  # widths
CUT = 4                      # a bar ends at so many times the typical value, and is marked as cut

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #d5dae3; --ground: #fff;
        --ours: #2563eb; --peer: #94a3b8; --limit: #c9a227; --good: #15803d; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #344054; --ground: #14181f;
        --ours: #6a9bff; --peer: #64748b; --limit: #d7b64a; --good: #4ade80; --bad: #ff8a7a; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
       max-width: 1000px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 0; }
p.note { color: var(--soft); margin: .1rem 0 .6rem; } .charts { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .85rem; }
svg { display: block; max-width: 100%; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.ours { fill: var(--ours); } .peer { fill: var(--peer); } .limit { fill: var(--limit); }
.range { stroke: var(--ink); stroke-width: 1.2; } .axis { stroke: var(--line); } .cut { fill: var(--ground); }
ul { list-style: none; padding: 0; margin: .6rem 0; } .good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; font-size: .85rem; } td, th { padding: .15rem .6rem; text-align: right;
        border-bottom: 1px solid var(--line); white-space: nowrap; } td:first-child { text-align: left; }
details { margin-top: .5rem; overflow-x: auto; } summary { color: var(--soft); cursor: pointer; }
"""


def kind_of(name):
    if name.startswith("usplice"):
        return "ours"
    return "limit" if name == "direct" else "peer"


def bar_row(number, contender, metric, end):
    """One contender: its name, its median as a bar, its range as a line, its median as a number."""
    values = contender.values(metric)
    middle, top = statistics.median(values), number * ROW + (ROW - BAR) / 2
    low, high, width = (LABEL + PLOT * min(max(value, 0), end) / end for value in (min(values), max(values), middle))
    y = top + BAR / 2
    cut = f'<path class="cut" d="M{width - 12:.1f} {top} l5 {BAR} h4 l-5 {-BAR} z"/>' if middle > end else ""
    return (f'<text x="{LABEL - 8}" y="{y + 4}" text-anchor="end">{html.escape(contender.name)}</text>'
            f'<rect class="{kind_of(contender.name)}" x="{LABEL}" y="{top}" width="{max(width - LABEL, 1):.1f}" '
            f'height="{BAR}" rx="2"/>'
            f'{cut}<path class="range" d="M{low:.1f} {y} H{high:.1f} M{low:.1f} {y - 4} v8 M{high:.1f} {y - 4} v8"/>'
            f'<text x="{LABEL + PLOT + 8}" y="{y + 4}">{middle:,.{metric.digits}f}</text>')


def chart(case, metric):
    contenders = [contender for contender in case.contenders if is_measured(contender)]
    medians = [contender.median(metric) for contender in contenders]
    end = min(max(max(contender.values(metric)) for contender in contenders), CUT * statistics.median(medians))
    end = end if end > 0 and math.isfinite(end) else 1
    rows = "".join(bar_row(number, contender, metric, end) for number, contender in enumerate(contenders))
    width, height = LABEL + PLOT + VALUE, ROW * len(contenders)
    better = "more" if metric.is_more_better else "less"
    return (f'<figure><figcaption>{html.escape(metric.name)}, {better} is better</figcaption>'
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
            f'<path class="axis" d="M{LABEL} 0 V{height}"/>{rows}</svg></figure>')


def html_table(case):
    head, *rows = table(case)
    cells = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    cells += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    rows = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<details><summary>the figures</summary><table>{rows}</table></details>"


def section(case):
    bars = "".join(f'<li class="{"good" if found["passed"] else "bad"}">{html.escape(sentence(found))}</li>'
                   for found in verdicts(case))
    failures = "".join(f'<li class="bad">{html.escape(f"{contender.name} failed: {contender.failure}")}</li>'
                       for contender in case.contenders if contender.failure)
    plotted = [metric for metric in case.metrics if metric.has_plot and any(map(is_measured, case.contenders))]
    charts = "".join(chart(case, metric) for metric in plotted)
    return (f'<h2>{html.escape(case.name)}</h2><p class="note">{html.escape(case.note)}</p>'
            f'<div class="charts">{charts}</div><ul>{bars}{failures}</ul>{html_table(case)}')


def write_page(path, machine, cases):
    about = f"Linux {machine['kernel']}, {machine['cpus']} CPUs, {machine['time']}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'<!doctype html><html lang="en"><meta charset="utf-8"><title>usplice bench</title><style>{STYLE}</style>'
                   f'<h1>How fast usplice is</h1><p class="note">{html.escape(about)}. A bar is the median of the rounds, the '
                   f'thin line their range; a bar with a gap is longer than there is room for.</p>'
                   f'{"".join(map(section, cases))}</html>\n')
