"""The re-ranker: features by hand, calibration, what it refuses, what training refuses."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from plantgfm.formats.orthologs import Ortholog
from plantgfm.retrieval.rerank_training import labelled, reliability_of, train
from plantgfm.retrieval.reranker import FEATURES, Reranker, Seen, binomial, features_of
from plantgfm.sequence import Interval

SEEN = Seen("Arabidopsis lyrata", ["chr1", "chr2"], ["aa"])
RANKED_BY = {"model": 1.0, "alignments": 2.0}


def row(query, rank, score, *, start=0, **changes):
    cells = {
        "query_id": query,
        "query_length_bp": "200",
        "target_id": "c",
        "target_start": str(start),
        "target_end": str(start + 100),
        "strand": "+",
        "rank": str(rank),
        "score": str(score),
        "margin": "",
        "z": "1.0",
        "z_6mers": "",
        "z_11mers": "0.5",
        "z_alignments": "0",
        "strands_agree": "1",
        "repeat_fraction": "0.25",
        "gc": "0.4",
    }
    return {**cells, **changes}


def likely(score):
    return 1 / (1 + np.exp(4 - 2 * score))


def table(n_queries=120, hits=5, seed=0):
    """Hits whose chance to be near is known from their score: likely(score); near ones lie at 10,000."""
    rng = np.random.default_rng(seed)
    rows, truth, chance = [], {}, []
    for query in range(n_queries):
        name = f"q{query}"
        truth[name] = [Ortholog(name, Interval("c", 10_000, 10_050))]
        for rank, score in enumerate(np.sort(rng.normal(1.0, 1.5, hits))[::-1], start=1):
            near = rng.random() < likely(score)
            rows.append(row(name, rank, score, start=10_020 if near else 500_000))
            chance.append(likely(score))
    return rows, truth, np.array(chance)


@cache
def trained(seed=0, **size):
    rows, truth, _ = table(**size)
    part = labelled(rows, truth, within_bp=0, seen=SEEN)
    return train([part], within_bp=0, ranked_by=RANKED_BY, share_votes=True, seed=seed)


def test_features_by_hand_are_the_same_of_text_and_numbers():
    rows = [row("a", 1, 4.0, margin="3.0"), row("a", 2, 1.0, strands_agree="0"), row("b", 1, 2.0, strands_agree="")]
    found = features_of(rows)
    columns = dict(zip(FEATURES, found.T))
    np.testing.assert_allclose(columns["lead"], np.arcsinh([0, -3, 0]))
    np.testing.assert_allclose(columns["margin"], np.arcsinh([3, 0, 0]))
    assert columns["strands_agree"].tolist() == [1, -1, 0] and columns["rank"].tolist() == [0, np.log(2), 0]
    assert columns["z_6mers"].tolist() == [0, 0, 0]
    text = ("query_id", "strand", "target_id")
    numbers = [{k: v if k in text else None if v == "" else float(v) for k, v in one.items()} for one in rows]
    np.testing.assert_array_equal(features_of(numbers), found)


def test_hits_are_labelled_by_their_gap():
    rows = [row("a", 1, 4.0, start=0), row("a", 2, 3.0, start=1_000), row("none", 1, 3.0)]
    truth = {"a": [Ortholog("a", Interval("c", 150, 200))]}
    assert labelled(rows, truth, within_bp=50, seen=SEEN).near.tolist() == [True, False]
    assert labelled(rows, truth, within_bp=49, seen=SEEN).near.tolist() == [False, False]
    elsewhere = {"a": [Ortholog("a", Interval("d", 0, 200))]}
    assert not labelled(rows, elsewhere, within_bp=50, seen=SEEN).near.any()
    with pytest.raises(ValueError, match="no query of the hits in Arabidopsis lyrata has a label"):
        labelled(rows, {}, within_bp=0, seen=SEEN)


def test_probabilities_are_those_that_made_the_labels():
    model = trained(n_queries=300)
    rows, _, chance = table(n_queries=200, seed=5)
    said = model.probabilities(features_of(rows))
    assert np.corrcoef(said, chance)[0, 1] > 0.95 and np.abs(said - chance).mean() < 0.06
    assert (
        model.scores["calibration_error"] < 0.05 and model.scores["brier"] < 0.75 * model.scores["brier_of_the_share"]
    )
    assert sum(one.hits for one in model.reliability) == model.hits == 1_500 and model.queries == 300
    for one in model.reliability:
        if one.hits > 60:
            assert abs(one.predicted - one.observed) < 0.15


def test_features_that_say_nothing_give_the_mean_share():
    rng = np.random.default_rng(0)
    rows, truth, _ = table(n_queries=200)
    shuffled = [{**one, "target_start": other["target_start"], "target_end": other["target_end"]}
                for one, other in zip(rows, [rows[i] for i in rng.permutation(len(rows))])]  # fmt: skip
    model = train(
        [labelled(shuffled, truth, within_bp=0, seen=SEEN)], within_bp=0, ranked_by={}, share_votes=True, seed=0
    )
    assert model.scores["brier"] == pytest.approx(model.scores["brier_of_the_share"], rel=0.03)


def test_the_same_seed_gives_the_same_file_and_it_is_read_again(tmp_path):
    trained().write(tmp_path / "a.json")
    trained.__wrapped__().write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert Reranker.read(tmp_path / "a.json") == trained()
    for text, said in (
        ("{", "is no JSON"),
        ('{"version": 9}', "no reranker of version 1"),
        ('{"version": 1, "seen": []}', "is damaged"),
        ((tmp_path / "a.json").read_text().replace('"weights": [', '"weights": [1.0,'), "is damaged"),
    ):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            Reranker.read(tmp_path / "bad.json")


def test_what_it_has_seen_is_refused():
    model = replace(trained(), seen=[SEEN], ranked_by=RANKED_BY, share_votes=True)

    def check(**changes):
        asked = {
            "species": "Zea mays",
            "sequences": ["chr1"],
            "inputs": ["bb"],
            "ranked_by": RANKED_BY,
            "share_votes": True,
            "vectors": {"layer": 0, "part_bp": 96},
        }
        model.check(**{**asked, **changes})

    check()
    check(species="Arabidopsis lyrata", sequences=["chr3"])
    with pytest.raises(ValueError, match="trained on Arabidopsis lyrata, chr1, which is searched here"):
        check(species="arabidopsis lyrata subsp. petraea")
    with pytest.raises(ValueError, match="the very file that is searched here"):
        check(species="Zea mays", inputs=["aa"])
    with pytest.raises(ValueError, match="ranked by alignments x 2, model x 1, these are ranked by model x 1"):
        check(ranked_by={"model": 1.0})
    with pytest.raises(ValueError, match="with retrieval.share_votes=True, here it is False"):
        check(share_votes=False)
    with pytest.raises(ValueError, match="trained on hits of projection None, these are of ab: make them equal"):
        check(projected_by="ab")
    model = replace(model, vectors={"layer": 0, "part_bp": 96})
    check()
    with pytest.raises(ValueError, match="vectors with layer=0, part_bp=96, these have layer=-1, part_bp=0: give"):
        check(vectors={"layer": -1, "part_bp": 0})
    assert binomial("  arabidopsis LYRATA ssp. x") == "Arabidopsis lyrata"


def test_too_little_to_learn_from_is_told():
    with pytest.raises(ValueError, match="12 queries with labels: a reranker needs at least 20"):
        trained(n_queries=12)
    rows, truth, _ = table(n_queries=30)
    far = [{**one, "target_start": "1", "target_end": "5"} for one in rows]
    with pytest.raises(ValueError, match="0 of 150 hits lie within 0 bp"):
        train([labelled(far, truth, within_bp=0, seen=SEEN)], within_bp=0, ranked_by={}, share_votes=True, seed=0)


def test_reliability_by_hand():
    curve, scores = reliability_of(np.array([0.05, 0.05, 0.95, 1.0]), np.array([False, True, True, True]))
    assert [(one.predicted, one.observed, one.hits) for one in curve] == [(0.05, 0.5, 2), (0.975, 1.0, 2)]
    assert scores["calibration_error"] == pytest.approx((0.45 * 2 + 0.025 * 2) / 4)
    assert scores["brier"] == pytest.approx((0.05**2 + 0.95**2 + 0.05**2) / 4)


def test_a_shortlist_holds_a_near_hit_of_the_share_of_queries_that_was_asked_for():
    """On queries of another draw, over which the guarantee holds on average; without near hits there is none."""
    model = trained(n_queries=400, hits=5)
    assert len(model.best_near) == 400 and min(model.best_near) == 0.0
    attainable = float(np.mean(np.array(model.best_near) > 0))
    least = model.threshold(0.6)
    assert model.threshold(0.4) > least > 0
    rows, truth, _ = table(n_queries=400, hits=5, seed=5)
    part = labelled(rows, truth, within_bp=0, seen=SEEN)
    listed = model.probabilities(part.features) >= least
    held = {query for query, near, inside in zip(part.query, part.near, listed) if near and inside}
    assert 0.53 <= len(held) / 400 <= 0.70
    assert listed.mean() < 0.5
    with pytest.raises(ValueError, match=r"shortlist_recall=0.999 needs a reranker of more than 400 queries"):
        model.threshold(0.999)
    assert attainable < 0.98
    with pytest.raises(ValueError, match=r"shortlist_recall=0.98 can't be reached: \d+\.\d% of the training's"):
        model.threshold(0.98)


def test_a_reranker_of_older_code_has_no_shortlist(tmp_path):
    model = trained()
    replace(model, best_near=[]).write(tmp_path / "old.json")
    text = (tmp_path / "old.json").read_text().replace('  "best_near": [],\n', "")
    (tmp_path / "old.json").write_text(text)
    old = Reranker.read(tmp_path / "old.json")
    assert old.best_near == []
    with pytest.raises(ValueError, match="needs a reranker of more than 0 queries"):
        old.threshold(0.5)
