"""The projection: what an untrained head changes, what a trained one learns and what it can't, and what it refuses."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plantgfm.embedding.store import VectorTable
from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.config import FitOn, HeadKind, ProjectionConfig, RetrievalConfig
from plantgfm.retrieval.debias import no_debias
from plantgfm.retrieval.projection import Look, Projected, Projection, Validation, gelu, kept_settings
from plantgfm.retrieval.projection_pairs import OrthologSet, Prepared, Split, split_sets
from plantgfm.retrieval.projection_training import (
    contrastive_loss,
    drawn_batch,
    fitted_temperature,
    initial,
    train_projection,
)
from plantgfm.retrieval.queries import Query
from plantgfm.retrieval.reranker import Seen
from plantgfm.retrieval.sources import QueryVectors
from plantgfm.retrieval.targets import Targets
from plantgfm.sequence import Interval

WIDTH, WINDOW = 12, 100
SETTINGS = {"window_bp": WINDOW, "stride_bp": WINDOW, "pooling": "mean", "layer": -1, "batch_windows": 4}
COMPILED = jax.jit(contrastive_loss, static_argnames="hidden")
IDENTITY = {"down": jnp.zeros((WIDTH, 2)), "up": jnp.zeros((2, WIDTH))}
CONFIG = ProjectionConfig(
    rank=4, batch_pairs=32, hard_negatives=2, learning_rate=0.02, keep_identity=0.1, max_steps=60, resamples=200
)
SEEN = Seen("Fictus minor", ["chrA"], ["aa"])


def ortholog_set(
    seed=0, *, n=60, target="Fictus minor", query="Fictus parvus", signal=True, sequences=("chrA", "chrB")
):
    """Windows whose first four numbers an ortholog shares; the other eight are of each window alone."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(2 * n, 4))
    vectors = np.concatenate([shared, rng.normal(size=(2 * n, WIDTH - 4))], axis=1)
    asked = np.concatenate([shared, rng.normal(size=(2 * n, WIDTH - 4))], axis=1)[:n]
    if not signal:
        asked = rng.permutation(asked)
    on = [sequences[row % len(sequences)] for row in range(2 * n)]
    places = [Interval(name, WINDOW * row, WINDOW * (row + 1)) for row, name in enumerate(on)]
    table = VectorTable(
        places, vectors.astype(np.float32), np.zeros(2 * n, bool), np.zeros(2 * n), {"settings": SETTINGS}
    )
    names = [f"q{number}" for number in range(n)]
    queries = [Query(name, WINDOW, [np.zeros(WINDOW, np.uint8)]) for name in names]
    other = rng.normal(size=asked.shape).astype(np.float32)
    sides = QueryVectors(np.arange(n), asked.astype(np.float32), other)
    truth = {name: [Ortholog(name, replace(where, strand="+"))] for name, where in zip(names, places)}
    known = Seen(target, sorted(set(on)), [target[-3:]]), Seen(query, ["chr1"], [query[-3:]])
    return OrthologSet(*known, Targets.of(table), queries, sides, truth)


@cache
def trained(**changes):
    sets = [ortholog_set(0), ortholog_set(1, target="Alba nova", query="Alba vetus")]
    config = replace(CONFIG, **changes)
    return train_projection(sets, bundle="b", settings=SETTINGS, hold_out=("Alba nova",), config=config)


def untrained(kind="linear", rank=3):
    down = np.random.default_rng(0).normal(size=(WIDTH, rank)).tolist()
    shape = {"down": down, "up": np.zeros((rank, WIDTH)).tolist(), "queries": 20, "pairs": 20, "training": {}}
    correction = {"components": 1, "whiten": True, "ridge": 1e-3, "fit_on": "targets"}
    embedding = kept_settings(SETTINGS)
    said = Validation(5, ["chrB"], 0, 0.5, 0.5, (0.0, 0.0, 0.0))
    head = Projection(head=kind, bundle="b", embedding=embedding, correction=correction, seen=[SEEN], **shape)
    return replace(head, curve=[Look(0, None, 0.5, 0.0)], validation=said)


@pytest.mark.parametrize("kind", ["linear", "hidden"])
def test_an_untrained_head_changes_nothing(kind):
    x = np.random.default_rng(1).normal(size=(5, WIDTH)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[3] = 0
    np.testing.assert_allclose(untrained(kind).apply(x), x, atol=1e-7)
    np.testing.assert_array_equal(Projected(no_debias(WIDTH), untrained(kind)).apply(x)[3], 0)


def test_what_a_head_adds_by_hand():
    x = np.zeros((1, WIDTH), np.float32)
    x[0, 0] = 1.0
    down, up = np.zeros((WIDTH, 1)), np.zeros((1, WIDTH))
    down[0, 0], up[0, 1] = 2.0, 0.5
    linear = replace(untrained(), down=down.tolist(), up=up.tolist())
    np.testing.assert_allclose(linear.apply(x)[0, :2], np.array([1, 1]) / np.sqrt(2), rtol=1e-6)
    moved = 0.5 * gelu(np.float32(2.0), np.tanh)
    hidden = replace(linear, head="hidden").apply(x)[0, :2]
    np.testing.assert_allclose(hidden, np.array([1, moved]) / np.hypot(1, moved), rtol=1e-6)
    assert moved == pytest.approx(0.97725, abs=1e-3)  # 2 Phi(2) / 2


@pytest.mark.parametrize("kind", list(HeadKind))
def test_what_orthologs_share_is_learned_and_holds_for_other_species(kind):
    head = trained(head=kind)
    said = head.validation
    assert said.queries == 60 and said.held_out == ["Alba nova"] and head.queries == 60 and head.pairs == 60
    assert said.step > 0 and said.mrr > said.mrr_without + 0.1 and said.difference[1] > 0
    assert said.mrr == max(look.mrr for look in head.curve) and head.curve[0].mrr == said.mrr_without
    assert said.difference[0] == pytest.approx(said.mrr - said.mrr_without)
    assert head.species() == ["Alba nova", "Alba vetus", "Fictus minor", "Fictus parvus"]
    assert head.curve[1].moved > 0 and head.curve[0].moved == 0 and head.curve[-1].loss < head.curve[1].loss


def test_labels_that_mean_nothing_leave_a_held_out_search_as_it_is():
    sets = [ortholog_set(0, signal=False), ortholog_set(1, signal=False, target="Alba nova", query="Alba vetus")]
    head = train_projection(sets, bundle="b", settings=SETTINGS, hold_out=["Alba nova"], config=CONFIG)
    assert head.validation.difference[1] <= 0.02 and head.validation.mrr < 0.15


def test_the_more_it_is_held_to_the_identity_the_less_it_moves():
    free, held = trained(), trained(keep_identity=100.0)
    assert held.curve[1].moved < 0.5 * free.curve[1].moved


def test_the_same_seed_gives_the_same_file_and_damage_is_told(tmp_path):
    trained().write(tmp_path / "a.json")
    trained.__wrapped__().write(tmp_path / "b.json")
    trained(seed=1).write(tmp_path / "c.json")
    first = (tmp_path / "a.json").read_bytes()
    assert first == (tmp_path / "b.json").read_bytes() != (tmp_path / "c.json").read_bytes()
    assert Projection.read(tmp_path / "a.json") == trained()
    text = first.decode()
    weight = repr(trained().up[0][0])
    for wrong, said in (
        ("{", "is no JSON"),
        ('{"version": 9}', "no projection of version 1"),
        ('{"version": 1, "up": []}', "no projection of version 1"),
        (text.replace(weight, "0.25", 1), "is damaged .its fingerprint is another"),
        (text.replace(weight, '"x"', 1), "is damaged"),
        (text.replace('"head": "linear"', '"head": "cubic"'), "is damaged"),
    ):
        (tmp_path / "bad.json").write_text(wrong)
        with pytest.raises(ValueError, match=said):
            Projection.read(tmp_path / "bad.json")


def test_vectors_of_another_kind_are_refused():
    def check(*, bundle="b", config=None, **changes):
        untrained().check_made_for(bundle=bundle, settings={**SETTINGS, **changes}, config=config or RetrievalConfig())

    check(batch_windows=9, stride_bp=7, window_bp=7)
    with pytest.raises(ValueError, match="trained on vectors of bundle b, this is bundle c"):
        check(bundle="c")
    for name, value in (("layer", 1), ("pooling", "max")):
        with pytest.raises(ValueError, match=f"embedding.{name}={SETTINGS[name]}, these have {value}: make them equal"):
            check(**{name: value})
    with pytest.raises(ValueError, match="embedding.new=None, these have 3"):
        check(new=3)
    with pytest.raises(ValueError, match="retrieval.whiten=True, these have False"):
        check(config=RetrievalConfig(whiten=False))
    with pytest.raises(ValueError, match="retrieval.fit_on=targets, these have both"):
        check(config=RetrievalConfig(fit_on=FitOn.BOTH))


def test_what_it_has_seen_is_refused_on_both_sides():
    def check(**changes):
        asked = {"species": "Zea mays", "sequences": ["chrA"], "inputs": ["bb"], "query_inputs": ["cc"]}
        untrained().check_unseen(**{**asked, "query_species": "Oryza sativa", **changes})

    check()
    check(query_species=None)
    check(species="Fictus minor", sequences=["chrZ"])
    with pytest.raises(ValueError, match="projection was trained on Fictus minor, chrA, which is searched here"):
        check(species="fictus minor subsp. x")
    with pytest.raises(ValueError, match="very file that is searched here"):
        check(inputs=["aa"])
    with pytest.raises(ValueError, match="trained on Fictus minor, whose sequences are looked for here"):
        check(query_species="Fictus minor")
    with pytest.raises(ValueError, match="very file that queries come from .as Fictus minor"):
        check(query_inputs=["aa"])
    unknown = replace(untrained(), seen=[Seen("Fictus minor", [], [])])  # of FASTA queries, on no named sequence
    with pytest.raises(ValueError, match="Fictus minor, chrA, which is searched here"):
        unknown.check_unseen(species="Fictus minor", sequences=["chrA"], inputs=[], query_species=None, query_inputs=[])


def test_pairs_stand_where_the_ortholog_has_them():
    """Two windows of a query, on a label of two windows on the other strand: first to last."""
    rng = np.random.default_rng(0)
    places = [Interval("c", 100 * row, 100 * row + 100) for row in range(6)]
    vectors = rng.normal(size=(6, WIDTH)).astype(np.float32)
    targets = Targets.of(VectorTable(places, vectors, np.zeros(6, bool), np.zeros(6), {"settings": SETTINGS}))
    query = Query("q", 200, [np.zeros(100, np.uint8)] * 2, (0, 100))
    sides = QueryVectors(np.zeros(2, np.int64), vectors[[4, 4]], vectors[[3, 2]])

    def pairs(strand, hard=2):
        label = Ortholog("q", Interval("c", 200, 400, strand))
        one = OrthologSet(SEEN, SEEN, targets, [query], sides, {"q": [label]})
        return Prepared(one, Split([0], []), CONFIG).pairs(hard_negatives=hard)

    assert pairs("-").row.tolist() == [3, 2] and pairs("+").row.tolist() == [2, 3]
    unknown = pairs(".")
    assert unknown.row.tolist() == [3, 2]  # where the backward side fits, and the forward one does not
    np.testing.assert_allclose(unknown.left, unknown.right, atol=1e-6)
    assert unknown.true[0].tolist() == [2, 3]
    assert pairs("-", hard=0).wrong_left.shape == (1, 0, WIDTH)
    right = pairs("-", hard=50).wrong_right[0]
    assert np.sum(right.any(axis=1)) == 4  # all windows but the true ones
    best = pairs("-").wrong_left[0] @ pairs("-").wrong_right[0].T
    assert np.diag(best)[0] == pytest.approx(1.0, abs=1e-5)  # window 4 is what the forward side is like


def test_what_is_held_out_is_neither_trained_on_nor_a_negative():
    sets = [ortholog_set(0), ortholog_set(1, target="Alba nova", query="Fictus minor")]
    by_species = split_sets(sets, hold_out=["Fictus minor"], config=CONFIG)
    assert [len(one.train) for one in by_species] == [0, 0] and [len(one.held_out) for one in by_species] == [60, 60]
    (one, two) = split_sets(sets, hold_out=["alba nova"], config=CONFIG)
    assert (len(one.train), len(one.held_out), len(two.train), len(two.held_out)) == (60, 0, 0, 60)
    first = split_sets(sets[:1], hold_out=["chrB"], config=CONFIG)[0]
    assert first.train == list(range(0, 60, 2)) and first.closed == {"chrB"}
    prepared = Prepared(sets[0], first, CONFIG)
    assert set(np.concatenate(prepared._wrong(first.train, 8)) % 2) == {0}  # windows of chrA alone
    assert split_sets(sets[:1], hold_out=[], config=CONFIG)[0].closed in ({"chrA"}, {"chrB"})
    with pytest.raises(ValueError, match="'chrX' is neither one of the species Alba nova, Fictus minor"):
        split_sets(sets, hold_out=["chrX"], config=CONFIG)
    with pytest.raises(ValueError, match="no target has labels on two sequences"):
        split_sets([ortholog_set(0, sequences=["chrA"])], hold_out=[], config=CONFIG)


def test_the_loss_by_hand():
    """Two pairs at right angles to each other: cosines 1 and 0, a wrong pair of cosine 1 for the first."""
    eye = np.eye(WIDTH, dtype=np.float32)
    batch = {"left": eye[:2], "right": eye[:2], "same": np.eye(2, dtype=bool)}
    batch |= {"wrong_left": np.stack([eye[:1], eye[1:2] * 0]), "wrong_right": np.stack([eye[:1], eye[1:2] * 0])}
    weights = IDENTITY | {"coldness": jnp.float32(np.log(2.0))}

    def loss(**changes):
        return float(COMPILED(weights, {**batch, **changes}, keep_identity=jnp.float32(7.0), hidden=False))

    ahead = np.mean([np.log(2 * np.e**2 + 1) - 2, np.log(np.e**2 + 1) - 2])
    assert loss() == pytest.approx(0.5 * (ahead + np.log(np.e**2 + 1) - 2), rel=1e-5)
    both = loss(same=np.ones((2, 2), bool))  # the other is a true place, too: no negative
    assert both == pytest.approx(0.5 * 0.5 * np.log(2), rel=1e-5)


def test_the_temperature_is_that_of_the_least_loss():
    one = ortholog_set(0)
    pairs = Prepared(one, Split(list(range(60)), []), CONFIG).pairs(hard_negatives=0)
    batch = drawn_batch(pairs, 60, np.random.default_rng(0))
    found = fitted_temperature([batch], width=WIDTH)

    def loss(temperature):
        weights = IDENTITY | {"coldness": jnp.float32(-np.log(temperature))}
        return float(COMPILED(weights, batch, keep_identity=jnp.float32(0), hidden=False))

    assert loss(found) < min(loss(found * 1.3), loss(found / 1.3)) and 0.02 < found < 0.9


def test_it_starts_from_the_directions_that_orthologs_share():
    prepared = Prepared(ortholog_set(0), Split(list(range(60)), []), CONFIG)
    weights = initial([prepared.pairs(hard_negatives=0)], 4)
    assert np.linalg.norm(np.asarray(weights["down"])[:4]) > 1.6 and not np.asarray(weights["up"]).any()


def test_too_little_and_too_much_are_told():
    sets = [ortholog_set(0), ortholog_set(1, target="Alba nova", query="Alba vetus")]

    def train(config=CONFIG, sets=sets, hold_out=("Alba nova",)):
        return train_projection(sets, bundle="b", settings=SETTINGS, hold_out=hold_out, config=config)

    few = replace(sets[0], truth={name: sets[0].truth[name] for name in ("q0", "q1", "q2")})
    with pytest.raises(ValueError, match="3 queries with labels to train on: a projection needs at least 20"):
        train(sets=[few, sets[1]])
    with pytest.raises(ValueError, match="0 queries with labels to train on"):
        train(sets=sets[1:])
    with pytest.raises(ValueError, match="3 queries with labels to hold out: a projection needs at least 5"):
        train(sets=[few, sets[1]], hold_out=("Fictus minor",))
    with pytest.raises(ValueError, match="projection.rank=13 is more than the 12 dimensions"):
        train(replace(CONFIG, rank=13))
    with pytest.raises(ValueError, match="the loss is inf at step 2: lower projection.learning_rate"):
        train(replace(CONFIG, learning_rate=1e38))
    for wrong, said in (
        ({"batch_pairs": 1}, "batch_pairs=1"),
        ({"temperature": 2.0}, "temperature=2.0"),
        ({"keep_identity": -1.0}, "keep_identity=-1.0"),
        ({"hard_negatives": 51}, "hard_negatives=51"),
        ({"held_out_fraction": 1.0}, "held_out_fraction=1.0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"patience": 0}, "patience=0"),
        ({"components": -1}, "components=-1"),
    ):
        with pytest.raises(ValueError, match=said):
            ProjectionConfig(**wrong)
