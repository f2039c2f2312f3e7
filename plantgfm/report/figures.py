"""Figures as PNG bytes: same data, same bytes; readable without colour, and with some 14 series.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/) without the yellow, which is lost on white. After
seven series they start again with another line style or hatch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter, ScalarFormatter
from PIL import Image

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", ":", "-.")
_HATCHES = ("", "///", "...", "xxx")
_MARKERS = "osD^vP*X<>hdp8"
_REFERENCE = "#595959"
_REFERENCE_STYLES = ((0, (6, 2)), (0, (2, 2)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (10, 3)), (0, (3, 1, 1, 1, 1, 1)))
_DPI = 130
_SMALL_SERIES = 40  # points up to which each is marked
_LONE_ENTRY = 1  # says nothing that the title does not
_FEW_COLOURS = 64
_LARGE = 1e4
_SHORT_LOG_AXIS = 12.0
_VISIBLE_PERCENT = 0.5  # of a track: what is shorter is drawn as wide

Curve = tuple[Sequence[float], Sequence[float]]


def lines(
    series: Mapping[str, Curve],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    hlines: Mapping[str, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> bytes:
    """Curves over one pair of axes, with horizontal reference lines; both are named in a legend beside the axes.

    Args:
        series: name -> (x, y) of equal length; NaN leaves a gap.
        xlabel: of the x axis, with its unit.
        ylabel: of the y axis, with its unit.
        title: above the axes.
        hlines: name -> y.
        log_x: logarithmic x; what is not positive is left out.
        log_y: logarithmic y; likewise.

    Raises:
        ValueError: no series, or x and y of other lengths.
    """
    _need(series, "series")
    figure, axes = _canvas(7.2 + _legend_inches([*series, *(hlines or {})]), 4.2)
    for index, (name, (x, y)) in enumerate(series.items()):
        _curve(axes, name, x, y, index=index)
    for index, (name, y) in enumerate((hlines or {}).items()):
        style = _REFERENCE_STYLES[index % len(_REFERENCE_STYLES)]
        axes.axhline(y, color=_REFERENCE, linewidth=1.2, linestyle=style, label=_plain(name), zorder=1)
    _dress(axes, title=title, xlabel=xlabel, ylabel=ylabel, log_x=log_x, log_y=log_y)
    _legend(figure, axes)
    return _png(figure)


def fits(
    points: Mapping[str, Curve],
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    open_points: Sequence[str] = (),
    title: str = "",
) -> bytes:
    """Measured points and fitted curves with their intervals, over a logarithmic x axis.

    Args:
        points: name -> (x, y); a curve of the same name has the same colour.
        curves: name -> (x, y, low, high), in order of x; those without points are drawn black.
        xlabel: of the x axis, with its unit.
        ylabel: of the y axis, with its unit.
        open_points: names whose points are drawn larger and open: those that no curve was fitted to.
        title: above the axes.

    Raises:
        ValueError: no points.
    """
    _need(points, "points")
    figure, axes = _canvas(7.2 + _legend_inches([*points, *curves]), 4.6)
    for index, (name, (x, y)) in enumerate(points.items()):
        shape = {"markersize": 9, "markerfacecolor": "none"} if name in open_points else {"markersize": 5}
        style = {"color": PALETTE[index % len(PALETTE)], "marker": _MARKERS[index % len(_MARKERS)], "linestyle": "none"}
        axes.plot(x, y, label=_plain(name), zorder=4, **style, **shape)
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(points)}
    for index, (name, (x, y, low, high)) in enumerate(curves.items()):
        colour, label = colours.get(name, "#000000"), None if name in colours else _plain(name)
        dashes = "-" if name in colours else _REFERENCE_STYLES[index % len(_REFERENCE_STYLES)]
        axes.plot(x, y, color=colour, linewidth=1.4, linestyle=dashes, label=label, zorder=3)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0, zorder=1)
    _dress(axes, title=title, xlabel=xlabel, ylabel=ylabel, log_x=True, log_y=False)
    _legend(figure, axes)
    return _png(figure)


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    *,
    xlabel: str,
    title: str = "",
    intervals: Sequence[tuple[float, float]] | None = None,
    reference: Mapping[str, float] | None = None,
    log_x: bool = False,
    points: bool = False,
) -> bytes:
    """Horizontal bars, first on top, with intervals (low, high) and vertical reference lines.

    With `points` each value is a point on an axis that need not start at zero: for small differences of large values.

    Raises:
        ValueError: no label, or labels, values and intervals of other lengths.
    """
    _need(labels, "labels")
    if len(values) != len(labels) or (intervals is not None and len(intervals) != len(labels)):
        raise ValueError(f"{len(labels)} labels need as many values ({len(values)}) and intervals")
    figure, axes = _canvas(
        7.2 + _label_inches(labels) / 2 + _legend_inches(reference or {}, lone=0), 1.2 + 0.3 * len(labels)
    )
    if points:
        axes.plot(values, range(len(labels)), "o", color=PALETTE[0], markersize=6, zorder=5)
    else:
        axes.barh(range(len(labels)), values, color=PALETTE[4], height=0.7, zorder=2)
    if intervals is not None:
        _whiskers(axes, values, intervals)
    for index, (name, x) in enumerate((reference or {}).items()):
        style = _REFERENCE_STYLES[index % len(_REFERENCE_STYLES)]
        axes.axvline(x, color=PALETTE[1], linewidth=1.6, linestyle=style, label=_plain(name), zorder=3)
    _dress(axes, title=title, xlabel=xlabel, ylabel="", log_x=log_x, log_y=False)
    _name_rows(axes, labels)
    if reference:
        _legend(figure, axes, always=True)
    return _png(figure)


def funnel(
    stages: Sequence[str],
    counts: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    xlabel: str,
    title: str = "",
) -> bytes:
    """What stages leave and take: one panel an outcome, one bar a stage, stacked by species.

    Args:
        stages: from first to last, drawn from the top.
        counts: outcome ("kept", "rejected") -> species -> one number a stage, in the unit of xlabel.
        xlabel: what is counted, with its unit.
        title: above the panels.

    Raises:
        ValueError: no stage, no outcome, or a species with another number of stages.
    """
    _need(stages, "stages")
    _need(counts, "outcomes")
    species = list(dict.fromkeys(name for by_species in counts.values() for name in by_species))
    width = 3.6 * len(counts) + _label_inches(stages) + _legend_inches(species)
    figure = Figure(
        figsize=(width, max(1.5 + 0.42 * len(stages), 0.7 + 0.23 * len(species))), dpi=_DPI, layout="constrained"
    )
    figure.get_layout_engine().set(wspace=0.06)  # the last number of one axis and the first of the next stay apart
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, (outcome, by_species) in zip(panels, counts.items()):
        _stack(axes, stages, by_species, species=species)
        _dress(axes, title=outcome, xlabel="", ylabel="", log_x=False, log_y=False)
        axes.grid(visible=False, axis="y")
    _name_rows(panels[0], stages)
    figure.suptitle(_plain(title), fontsize=12)
    figure.supxlabel(_plain(xlabel), fontsize=10)
    _legend(figure, panels[0], always=True)
    return _png(figure)


def tracks(
    labels: Sequence[str],
    lengths: Sequence[float],
    intervals: Sequence[tuple[int, float, float, str]],
    *,
    xlabel: str,
    title: str = "",
) -> bytes:
    """Intervals along sequences: a line a sequence, first on top, each drawn to the same width (0 to 100 %).

    Args:
        labels: names of the sequences.
        lengths: of each, in the unit of the intervals.
        intervals: (row, start, end, group); groups differ by colour and hatch. Short ones are drawn wide enough to see.
        xlabel: of the x axis.
        title: above the axes.

    Raises:
        ValueError: no label, or an interval that does not lie in its sequence.
    """
    _need(labels, "labels")
    for row, start, end, _ in intervals:
        if not (0 <= row < len(labels) and 0 <= start < end <= lengths[row]):
            raise ValueError(f"interval {start}-{end} does not lie in row {row} of {len(labels)}")
    groups = list(dict.fromkeys(group for *_, group in intervals))
    figure, axes = _canvas(
        7.2 + _label_inches(labels) / 2 + _legend_inches(groups, lone=0), max(1.4, 0.9 + 0.26 * len(labels))
    )
    axes.hlines(range(len(labels)), 0, 100, color="#8c8c8c", linewidth=1.2, zorder=1)
    for index, group in enumerate(groups):
        mine = [(row, 100 * a / lengths[row], 100 * b / lengths[row]) for row, a, b, name in intervals if name == group]
        rows, left, right = map(np.asarray, zip(*mine))
        width = np.maximum(right - left, _VISIBLE_PERCENT)
        left = np.minimum((left + right - width) / 2, 100 - width).clip(0)
        axes.barh(rows, width, left=left, height=0.62, label=_plain(group), zorder=2 + index / 100, **_fill(index))
    axes.set_xlim(-1, 101)
    _dress(axes, title=title, xlabel=xlabel, ylabel="", log_x=False, log_y=False)
    _name_rows(axes, labels)
    _legend(figure, axes, always=True)
    return _png(figure)


def balance(
    labels: Sequence[str],
    left: Mapping[str, Sequence[float]],
    right: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    title: str = "",
) -> bytes:
    """Horizontal bars to both sides of zero, the series of a side beside each other; the axis is symmetric-logarithmic.

    Args:
        labels: rows, first on top.
        left: name -> a value >= 0 a row, drawn to the left.
        right: the same to the right.
        xlabel: what is shown, with its unit; both sides count upwards.
        title: above the axes.

    Raises:
        ValueError: no label, a negative value, or a series of another length.
    """
    _need(labels, "labels")
    series = [
        (name, np.asarray(v, dtype=float), side) for part, side in ((left, -1), (right, 1)) for name, v in part.items()
    ]
    for name, values, _ in series:
        if values.size != len(labels) or (values < 0).any():
            raise ValueError(f"series {name!r} needs {len(labels)} values of at least 0")
    figure, axes = _canvas(
        7.2 + _label_inches(labels) / 2 + _legend_inches([name for name, *_ in series], lone=0),
        1.2 + 0.36 * len(labels),
    )
    height = 0.8 / max(len(left), len(right), 1)
    for index, (name, values, side) in enumerate(series):
        place = index if side < 0 else index - len(left)
        at = np.arange(len(labels)) - 0.4 + height * (place + 0.5)
        axes.barh(at, side * values, height=height, label=_plain(name), zorder=2, **_fill(index))
    positive = [value for _, values, _ in series for value in values if value > 0]
    _symmetric_log(axes, min(positive, default=1.0), max(positive, default=1.0))
    axes.axvline(0, color="#000000", linewidth=0.8, zorder=3)
    axes.set_title(_plain(title), fontsize=11)
    axes.set_xlabel(_plain(xlabel))
    axes.grid(visible=True, color="#d9d9d9", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    _name_rows(axes, labels)
    _legend(figure, axes, always=True)
    return _png(figure)


def _symmetric_log(axes: Axes, smallest: float, largest: float) -> None:
    """An x axis that is linear up to `smallest` and logarithmic from there to `largest`, on both sides of zero."""
    low, high = int(np.floor(np.log10(smallest))), int(np.ceil(np.log10(largest)))
    axes.set_xscale("symlog", linthresh=10.0**low, linscale=max(0.5, (high - low) / 3))
    axes.set_xlim(-1.5 * 10.0**high, 1.5 * 10.0**high)
    exponents = range(high, low - 1, -max(1, -(-(high - low) // 2)))
    sides = [sign * 10.0**exponent for exponent in exponents for sign in (-1, 1)]
    axes.set_xticks([0, *sides], [f"{abs(value):.4g}" for value in (0, *sides)])
    axes.xaxis.set_minor_formatter(NullFormatter())


def rank_histogram(
    ranks: Mapping[str, Sequence[int]], *, n_candidates: int, title: str = "", xlabel: str = "rank of the true partner"
) -> bytes:
    """Share of queries by the rank of what they should find, 1 best, in doubling bins; beside it chance.

    Raises:
        ValueError: no series, an empty one, or a rank outside 1..n_candidates.
    """
    _check_ranks(ranks, n_candidates)
    edges = np.unique(np.minimum(2 ** np.arange(int(np.ceil(np.log2(n_candidates + 1))) + 1), n_candidates + 1))
    figure, axes = _canvas(7.2 + _legend_inches([*ranks, "chance"]), 4.2)
    width = 0.8 / len(ranks)
    for index, (name, given) in enumerate(ranks.items()):
        share = np.histogram(np.asarray(given), bins=edges)[0] / len(given)
        where = np.arange(share.size) + (index - (len(ranks) - 1) / 2) * width
        axes.bar(where, share, width=width, label=_plain(name), zorder=2, **_fill(index))
    axes.step(
        np.arange(edges.size) - 0.5,
        np.append(np.diff(edges), np.diff(edges)[-1]) / n_candidates,
        where="post",
        color=_REFERENCE,
        linestyle=_REFERENCE_STYLES[0],
        label="chance",
        zorder=3,
    )
    _dress(axes, title=title, xlabel=xlabel, ylabel="share of queries", log_x=False, log_y=False)
    names = [str(low) if high - low == 1 else f"{low}–{high - 1}" for low, high in zip(edges[:-1], edges[1:])]
    axes.set_xticks(
        range(len(names)), names, rotation=0 if len(names) < 9 else 40, ha="center" if len(names) < 9 else "right"
    )
    axes.grid(visible=False, axis="x")
    _legend(figure, axes)
    return _png(figure)


def recall_curves(
    ranks: Mapping[str, Sequence[int]], *, n_candidates: int, title: str = "", xlabel: str = "candidates looked at, k"
) -> bytes:
    """Share of queries whose partner is among the first k, for every k, beside chance (k of n_candidates).

    Raises:
        ValueError: no series, an empty one, or a rank outside 1..n_candidates.
    """
    _check_ranks(ranks, n_candidates)
    k = np.unique(np.geomspace(1, n_candidates, 200).astype(int))
    figure, axes = _canvas(7.2 + _legend_inches([*ranks, "chance"]), 4.2)
    for index, (name, given) in enumerate(ranks.items()):
        recall = np.searchsorted(np.sort(np.asarray(given)), k, side="right") / len(given)
        axes.plot(k, recall, label=_plain(name), drawstyle="steps-post", **_stroke(index))
    axes.plot(k, k / n_candidates, color=_REFERENCE, linestyle=_REFERENCE_STYLES[0], label="chance")
    axes.set_ylim(-0.02, 1.02)
    _dress(axes, title=title, xlabel=xlabel, ylabel="recall at k", log_x=True, log_y=False)
    _legend(figure, axes)
    return _png(figure)


def lighter(png: bytes) -> bytes:
    """The same picture in 64 colours and without alpha, in about a third of the bytes: for what is kept for good."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(_FEW_COLOURS, dither=Image.Dither.NONE)
        few.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.subplots()


def _need(things: Sequence | Mapping, what: str) -> None:
    if not len(things):
        raise ValueError(f"a figure needs {what}; none were given")


def _check_ranks(ranks: Mapping[str, Sequence[int]], n_candidates: int) -> None:
    _need(ranks, "ranks")
    for name, given in ranks.items():
        if not len(given) or np.min(given) < 1 or np.max(given) > n_candidates:
            raise ValueError(f"ranks of {name!r} must be at least one, each from 1 to {n_candidates}")


def _curve(axes: Axes, name: str, x: Sequence[float], y: Sequence[float], *, index: int) -> None:
    if len(x) != len(y):
        raise ValueError(f"series {name!r} has {len(x)} x and {len(y)} y")
    marker = _MARKERS[index % len(_MARKERS)] if len(x) <= _SMALL_SERIES else None
    axes.plot(x, y, label=_plain(name), marker=marker, markersize=4, **_stroke(index))


def _whiskers(axes: Axes, values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> None:
    low, high = np.asarray(intervals, dtype=float).T
    middle = np.asarray(values, dtype=float)
    reach = np.maximum(np.stack([middle - low, high - middle]), 0)
    axes.errorbar(
        middle, range(len(values)), xerr=reach, fmt="none", ecolor="#000000", elinewidth=1.1, capsize=3, zorder=4
    )


def _stack(
    axes: Axes, stages: Sequence[str], by_species: Mapping[str, Sequence[float]], *, species: Sequence[str]
) -> None:
    left = np.zeros(len(stages))
    for index, name in enumerate(species):
        values = np.asarray(by_species.get(name, np.zeros(len(stages))), dtype=float)
        if values.size != len(stages):
            raise ValueError(f"species {name!r} has {values.size} counts for {len(stages)} stages")
        axes.barh(range(len(stages)), values, left=left, height=0.72, label=_plain(name), zorder=2, **_fill(index))
        left += values


def _stroke(index: int) -> dict:
    turn = index // len(PALETTE)
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": _STYLES[turn % len(_STYLES)], "linewidth": 1.6}


def _fill(index: int) -> dict:
    turn = index // len(PALETTE)
    return {
        "facecolor": PALETTE[index % len(PALETTE)],
        "hatch": _HATCHES[turn % len(_HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.5,
    }


def _dress(axes: Axes, *, title: str, xlabel: str, ylabel: str, log_x: bool, log_y: bool) -> None:
    axes.set_title(_plain(title), fontsize=11)
    axes.set_xlabel(_plain(xlabel))
    axes.set_ylabel(_plain(ylabel))
    for axis, is_log, set_scale in ((axes.xaxis, log_x, axes.set_xscale), (axes.yaxis, log_y, axes.set_yscale)):
        if is_log and axis.get_data_interval()[1] <= 0:
            raise ValueError(f"{axis.get_label_text()!r} has no positive value for a logarithmic axis; draw it linear")
        if is_log:
            set_scale("log", nonpositive="mask")
    for axis, is_log in ((axes.xaxis, log_x), (axes.yaxis, log_y)):
        _number_ticks(axis, is_log=is_log)
    axes.grid(visible=True, color="#d9d9d9", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _number_ticks(axis: Axis, *, is_log: bool) -> None:
    """Ticks such as 20k or 3M where the numbers are large, plain ones elsewhere."""
    low, high = axis.get_view_interval()
    if is_log:
        axis.set_major_formatter(FuncFormatter(_tick))
        # An axis of hardly a decade has one major tick or none: its minor ones must speak.
        axis.set_minor_formatter(FuncFormatter(_tick) if high / low < _SHORT_LOG_AXIS else NullFormatter())
    elif max(abs(low), abs(high)) >= _LARGE:
        axis.set_major_formatter(EngFormatter(sep=""))
    else:
        axis.set_major_formatter(ScalarFormatter(useOffset=False))


def _tick(value: float, _: int) -> str:
    return EngFormatter(sep="")(value) if abs(value) >= _LARGE else f"{value:.4g}"


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the rows of horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _legend(figure: Figure, axes: Axes, *, always: bool = False) -> None:
    pairs = sorted(zip(*axes.get_legend_handles_labels()), key=lambda pair: isinstance(pair[0], Line2D))
    if pairs and (always or len(pairs) > _LONE_ENTRY):
        handles, labels = zip(*pairs)
        figure.legend(handles, labels, loc="outside right upper", fontsize=8.5, frameon=False, handlelength=2.8)


def _legend_inches(names: Sequence[str] | Mapping[str, float], *, lone: int = _LONE_ENTRY) -> float:
    return 0.75 + _label_inches(names) if len(names) > lone else 0.0


def _label_inches(names: Sequence[str] | Mapping[str, float]) -> float:
    return 0.085 * max((len(name) for name in names), default=0)


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics, nor for a label to hide."""
    return str(text).replace("$", r"\$").lstrip("_")


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi="figure", facecolor="white", metadata={"Software": None})
    return stream.getvalue()
