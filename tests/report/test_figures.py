"""Figures: the numbers and names are there, nothing overlaps with fourteen series, same data gives same bytes."""

import io
from itertools import combinations

import matplotlib.image
import numpy as np
import pytest

from plantgfm.report import figures

SPECIES = [f"Longgenus longepithet {letter}" for letter in "abcdefghijklmn"]
STAGES = ["input", "completeness", "contamination", "assembly score", "duplicates", "label"]
RANKS = {name: np.arange(1, 5000, 7 + index) for index, name in enumerate(SPECIES)}
COUNTS = {name: np.linspace(3e6, 1e6, 6) for name in SPECIES}

CROWDED = {
    "lines": lambda: figures.lines(
        {name: (np.arange(99), np.arange(99) + i) for i, name in enumerate(SPECIES)},
        xlabel="step",
        ylabel="bits",
        title="t",
        hlines={"unigram": 2.0, "Markov": 2.001},
    ),
    "log": lambda: figures.lines({"a": ([1, 8], [2, 9e6])}, xlabel="x", ylabel="y", log_x=True, log_y=True),
    "bars": lambda: figures.bars(
        SPECIES, np.arange(14.0), xlabel="x", intervals=[(0, 20)] * 14, reference={"none": 0, "own": 0.1}
    ),
    "funnel": lambda: figures.funnel(
        STAGES, {"kept": COUNTS, "flagged": COUNTS, "rejected": COUNTS}, xlabel="bp " * 30
    ),
    "tracks": lambda: figures.tracks(
        [f"chr{i}, {name} (43,000 bp)" for i, name in enumerate(SPECIES)],
        [43_000] * 14,
        [
            (i, 3_000 * i, 3_000 * i + 900, ("foreign, masked", "vector, cut out", "organelle")[i % 3])
            for i in range(14)
        ],
        xlabel="position along the record, %",
    ),
    "balance": lambda: figures.balance(
        [f"completeness.{name}" for name in SPECIES],
        {"lost, stricter": np.geomspace(0.001, 900, 14), "lost, looser": [0] * 14},
        {"gained, looser": np.geomspace(900, 0.001, 14), "gained, stricter": [0] * 14},
        xlabel="Mb",
    ),
    "rank_histogram": lambda: figures.rank_histogram(RANKS, n_candidates=5000, title="t"),
    "recall_curves": lambda: figures.recall_curves(RANKS, n_candidates=5000, title="t"),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figure behind the bytes, drawn."""

    def draw(make):
        kept = []
        png = figures._png
        monkeypatch.setattr(figures, "_png", lambda figure: (kept.append(figure), png(figure))[1])
        make()
        return kept[0]

    return draw


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def tick_labels(axis):
    """The labels that are drawn: matplotlib keeps further ones outside the view."""
    low, high = sorted(axis.get_view_interval())
    shown = axis.get_tick_params().get("labelleft", True)
    return [label for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels()) if shown and low <= at <= high]


def boxes(texts):
    return [text.get_window_extent() for text in texts if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("kind", CROWDED)
def test_no_text_overlaps_another_nor_leaves_the_picture(drawn, kind):
    figure = drawn(CROWDED[kind])
    axes = figure.axes
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    texts += [text for a in axes for text in (a.title, a.xaxis.label, a.yaxis.label)] + figure.texts
    texts += [label for a in axes for label in tick_labels(a.yaxis)]
    if kind != "rank_histogram":  # slanted labels: their boxes overlap where their letters do not
        texts += [label for a in axes for label in tick_labels(a.xaxis)]
    found = boxes(texts)
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in found)
    clashes = [(a, b) for a, b in combinations(found, 2) if a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98))]
    assert not clashes, f"{kind}: {len(clashes)} texts overlap"
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(a.get_window_extent()) for a in axes)


@pytest.mark.parametrize("kind", CROWDED)
def test_same_data_gives_the_same_picture(kind):
    first = CROWDED[kind]()
    assert first == CROWDED[kind]()
    assert matplotlib.image.imread(io.BytesIO(first)).ndim == 3


def test_series_differ_without_colour(drawn):
    figure = drawn(CROWDED["lines"])
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].get_lines()[:14]}
    assert len(looks) == 14
    figure = drawn(CROWDED["funnel"])
    looks = {(bars[0].get_facecolor(), bars[0].get_hatch()) for bars in figure.axes[0].containers}
    assert len(looks) == 14


def test_lines_name_series_and_references(drawn):
    figure = drawn(CROWDED["lines"])
    assert legend_of(figure) == [*SPECIES, "unigram", "Markov"]
    x, y = figure.axes[0].get_lines()[1].get_data()
    assert x.tolist() == list(range(99)) and y[0] == 1


def test_bars_name_their_rows_and_span_their_intervals(drawn):
    figure = drawn(lambda: figures.bars(["a", "$b$"], [1.0, 2.0], xlabel="x", intervals=[(0.5, 3.0), (1.0, 2.5)]))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", r"\$b\$"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first bar stands on top"
    (whiskers,) = (c.get_segments() for c in axes.collections)
    assert [segment[:, 0].tolist() for segment in whiskers] == [[0.5, 3.0], [1.0, 2.5]]


def test_points_need_no_zero_and_a_lone_reference_is_named(drawn):
    figure = drawn(lambda: figures.bars(["a", "b"], [1.92, 1.93], xlabel="x", points=True, reference={"floor": 1.91}))
    axes = figure.axes[0]
    assert axes.get_xlim()[0] > 1.9 and not axes.patches
    assert axes.get_lines()[0].get_xdata().tolist() == [1.92, 1.93]
    assert legend_of(figure) == ["floor"]


def test_funnel_stacks_species_in_one_order(drawn):
    counts = {"kept": {"a": [5, 4], "b": [3, 1]}, "rejected": {"b": [0, 2], "c": [0, 1]}}
    figure = drawn(lambda: figures.funnel(["input", "label"], counts, xlabel="records", title="f"))
    kept, rejected = figure.axes
    ends = [[bar.get_x() + bar.get_width() for bar in bars] for bars in kept.containers]
    assert ends == [[5, 4], [8, 5], [8, 5]]
    assert [[bar.get_width() for bar in bars] for bars in rejected.containers] == [[0, 0], [0, 2], [0, 1]]
    assert legend_of(figure) == ["a", "b", "c"]
    assert [label.get_text() for label in kept.get_yticklabels()] == ["input", "label"]


def test_recall_and_its_chance(drawn):
    figure = drawn(lambda: figures.recall_curves({"m": [1, 1, 3, 10]}, n_candidates=10))
    recall, chance = (dict(zip(*line.get_data())) for line in figure.axes[0].get_lines())
    assert (recall[1], recall[2], recall[3], recall[9], recall[10]) == (0.5, 0.5, 0.75, 0.75, 1.0)
    assert chance[1] == 0.1 and chance[10] == 1.0


@pytest.mark.parametrize("n_candidates", [1, 2, 3, 7, 8, 301])
def test_rank_bins_hold_every_rank_once(drawn, n_candidates):
    figure = drawn(lambda: figures.rank_histogram({"m": range(1, n_candidates + 1)}, n_candidates=n_candidates))
    axes = figure.axes[0]
    shares = np.array([bar.get_height() for bar in axes.patches])
    chance = axes.get_lines()[0].get_ydata()[:-1]
    assert shares.sum() == pytest.approx(1) and np.allclose(shares, chance)
    assert axes.get_xticklabels()[0].get_text() == "1"


def test_a_short_log_axis_has_labels(drawn):
    figure = drawn(lambda: figures.lines({"a": ([2, 8], [20, 90])}, xlabel="x", ylabel="y", log_x=True, log_y=True))
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        low, high = axis.get_view_interval()
        ticks = zip(axis.get_ticklocs(minor=True), axis.get_ticklabels(minor=True))
        assert sum(1 for at, label in ticks if low <= at <= high and label.get_text()) >= 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.lines({"a": ([1, 2], [0, 0])}, xlabel="x", ylabel="y"),
        lambda: figures.lines({"a": ([0, 2], [0, 5])}, xlabel="x", ylabel="y", log_x=True, log_y=True),
        lambda: figures.lines({"a": ([0, 2], [np.nan] * 2), "b": ([], [])}, xlabel="x", ylabel="y"),
        lambda: figures.bars(["a"], [np.nan], xlabel="x", reference={"zero": 0}),
        lambda: figures.funnel(["s"], {"kept": {"a": [0]}, "rejected": {}}, xlabel="x"),
    ],
)
def test_zeros_and_gaps_are_drawn_without_a_warning(make):
    assert make().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: figures.lines({}, xlabel="x", ylabel="y"), "needs series"),
        (lambda: figures.lines({"a": ([1], [1, 2])}, xlabel="x", ylabel="y"), "1 x and 2 y"),
        (
            lambda: figures.lines({"a": ([1, 2], [0, -1])}, xlabel="x", ylabel="gain", log_y=True),
            "'gain' has no positive",
        ),
        (lambda: figures.bars([], [], xlabel="x"), "needs labels"),
        (lambda: figures.bars(["a"], [1, 2], xlabel="x"), "1 labels"),
        (lambda: figures.bars(["a"], [1], xlabel="x", intervals=[]), "1 labels"),
        (lambda: figures.funnel([], {"kept": {}}, xlabel="x"), "needs stages"),
        (lambda: figures.funnel(["s"], {}, xlabel="x"), "needs outcomes"),
        (lambda: figures.funnel(["s"], {"kept": {"a": [1, 2]}}, xlabel="x"), "2 counts for 1 stages"),
        (lambda: figures.recall_curves({}, n_candidates=3), "needs ranks"),
        (lambda: figures.recall_curves({"m": []}, n_candidates=3), "from 1 to 3"),
        (lambda: figures.rank_histogram({"m": [0]}, n_candidates=3), "from 1 to 3"),
        (lambda: figures.rank_histogram({"m": [4]}, n_candidates=3), "from 1 to 3"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_tracks_show_where_intervals_lie_and_make_short_ones_visible(drawn):
    figure = drawn(
        lambda: figures.tracks(["a", "b"], [200, 10_000], [(0, 50, 150, "x"), (1, 9_999, 10_000, "y")], xlabel="%")
    )
    wide, short = [bar for bars in figure.axes[0].containers for bar in bars]
    assert (wide.get_x(), wide.get_width(), round(wide.get_y() + wide.get_height() / 2)) == (25, 50, 0)
    assert short.get_width() == 0.5 and short.get_x() + short.get_width() <= 100
    assert legend_of(figure) == ["x", "y"]
    with pytest.raises(ValueError, match="interval 50-300 does not lie in row 0"):
        figures.tracks(["a"], [200], [(0, 50, 300, "x")], xlabel="%")


def test_a_balance_counts_upwards_to_both_sides(drawn):
    figure = drawn(lambda: figures.balance(["a", "b"], {"lost": [1, 0]}, {"gained": [0, 2]}, xlabel="Mb"))
    assert [bar.get_width() for bars in figure.axes[0].containers for bar in bars] == [-1, 0, 0, 2]
    assert not any("-" in label.get_text() or "−" in label.get_text() for label in figure.axes[0].get_xticklabels())
    with pytest.raises(ValueError, match="'lost' needs 2 values of at least 0"):
        figures.balance(["a", "b"], {"lost": [1, -1]}, {}, xlabel="Mb")


def test_a_lighter_picture_shows_the_same_in_fewer_bytes():
    png = CROWDED["log"]()
    light = figures.lighter(png)
    assert len(light) < len(png) / 2 and light == figures.lighter(png)
    before, after = (matplotlib.image.imread(io.BytesIO(each))[..., :3] for each in (png, light))
    assert before.shape == after.shape and np.abs(before - after).mean() < 0.005
