"""Windows that several corpora of the same genomes hold out, each without a copy in its training."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.corpus.config import CorpusConfig
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.sampling.near_training import near_training
from plantgfm.schema import Split
from tests.corpus.worlds import accepted, make_records, random_bases, species_name
from tests.sampling.conftest import SMALL


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return make_records(tmp_path_factory.mktemp("records"), species=4, length_bp=120_000, gaps=0)


@pytest.fixture(scope="module")
def corpus(make_corpus, records):
    return make_corpus(records, config=CorpusConfig(**SMALL, test_fraction=0.2))


def places(corpus, pairs):
    """Where pairs lie in the files."""
    found = set()
    for region, start, following in zip(pairs.region, pairs.start, pairs.next_start):
        record = corpus.records[corpus.regions.record[region]]
        at = tuple(int(one) - record.offset + record.start for one in (start, following))
        found.add((record.species, record.name, *at))
    return found


def test_a_corpus_that_holds_out_the_same_changes_nothing(corpus, make_config):
    alone, both = (evaluation_pairs(corpus, Split.TEST, make_config(), elsewhere=more) for more in ([], [corpus]))
    assert np.array_equal(alone.start, both.start) and np.array_equal(alone.reverse, both.reverse)
    assert both.not_elsewhere == 0 and "another corpus" not in both.describe()


def test_kept_are_pairs_that_the_other_corpus_holds_out_whatever_lies_before_them(
    corpus, make_corpus, make_config, records, tmp_path
):
    first = accepted(tmp_path, "Aaa aaa", "chr1", random_bases(np.random.default_rng(5), 90_000))
    other = make_corpus([first, *records], config=CorpusConfig(**SMALL, test_fraction=0.1))
    config = make_config()
    alone, there = (places(one, evaluation_pairs(one, Split.TEST, config)) for one in (corpus, other))
    both = evaluation_pairs(corpus, Split.TEST, config, elsewhere=[other])
    assert both.not_elsewhere == len(alone) - len(both) > 0
    assert f", {both.not_elsewhere:,} for another corpus that learns from them" in both.describe()
    regions = {(species, name, at // SMALL["region_bp"]) for species, name, at, _ in there}
    kept = {place for place in alone if (*place[:2], place[2] // SMALL["region_bp"]) in regions}
    assert places(corpus, both) == kept
    other_way = evaluation_pairs(corpus, Split.TEST, config, elsewhere=[other, corpus])
    assert np.array_equal(other_way.start, both.start)


def test_a_copy_in_the_training_of_the_other_corpus_drops_a_pair(make_corpus, make_config, records, tmp_path):
    """The other corpus keeps a record that is a copy of one, as where duplicates are not removed."""
    species, name = records[0].assembly.species, records[0].name
    twin = accepted(tmp_path, species, "twin", records[0].load())
    alone, other = (
        make_corpus(some, config=CorpusConfig(**SMALL, test_fraction=0.4, seed=1))
        for some in (records, [*records, twin])
    )
    pairs = evaluation_pairs(alone, Split.TEST, make_config(), elsewhere=[other])
    of_record, of_twin = (split_by_start(other, species, one) for one in (name, "twin"))
    left = {
        start // SMALL["region_bp"] * SMALL["region_bp"]
        for s, n, start, _ in places(alone, pairs)
        if n == name and s == species
    }
    learnt = {start for start, split in of_twin.items() if split == Split.TRAIN and of_record[start] == Split.TEST}
    assert learnt and left, "the draw of splits must leave both"
    assert not left & learnt
    assert all(of_record[start] == Split.TEST for start in left)


def split_by_start(corpus, species, name):
    (number,) = [i for i, r in enumerate(corpus.records) if (r.species, r.name) == (species, name)]
    mine = corpus.regions.record == number
    return dict(zip(corpus.regions.start[mine].tolist(), corpus.regions.split[mine].tolist()))


def test_pieces_of_a_record_are_found_by_their_place_in_it(corpus, make_corpus, make_config, records, tmp_path):
    """The other corpus has lost the first 30,000 bp of each record, as a cut takes them."""
    layout = CorpusConfig(**SMALL, test_fraction=0.2)
    cut = {"start": 32_768, "cluster_id": np.empty(0, np.int64), "cluster_size": np.empty(0, np.int32)}
    rest = [replace(r, offset=r.offset + 32_768, length_bp=r.length_bp - 32_768, **cut) for r in records]
    other = make_corpus(rest, config=layout)
    pairs = evaluation_pairs(corpus, Split.TEST, make_config(), elsewhere=[other])
    assert len(pairs) and min(at for *_, at, _ in places(corpus, pairs)) >= 32_768
    for species, name, *starts in places(corpus, pairs):
        (record,) = [r for r in other.records if (r.species, r.name) == (species, name)]
        for start in starts:
            row = np.searchsorted(other.regions.offset, start - record.start + record.offset, side="right") - 1
            assert other.regions.split[row] == Split.TEST


def test_the_same_names_on_other_bases_are_not_the_same_windows(corpus, make_corpus, make_config, records, tmp_path):
    """Another version of one file, and a second file whose records have the same names."""
    first, *rest = records
    turned = accepted(tmp_path / "v2", first.assembly.species, first.name, first.load()[::-1].copy(), cultivar="wild")
    layout = CorpusConfig(**SMALL, test_fraction=0.2)
    for others in ([turned, *rest], [first, turned, *rest], [first, first, *rest]):
        pairs = evaluation_pairs(corpus, Split.TEST, make_config(), elsewhere=[make_corpus(others, config=layout)])
        of_first = {place for place in places(corpus, pairs) if place[:2] == (first.assembly.species, first.name)}
        copies = sum(np.array_equal(one.load(), first.load()) for one in others)
        assert bool(of_first) == (copies == 1), "found where one file has the bases, and in doubt where two have"


def test_a_window_in_pieces_in_the_training_of_the_other_corpus_is_dropped(
    corpus, make_corpus, make_config, records, tmp_path
):
    """Contigs shorter than a window: no stretch of training holds most of it."""
    config = make_config()
    alone = evaluation_pairs(corpus, Split.TEST, config)
    start, width = int(alone.start[0]), config.window_bp
    third = width // 3
    contigs = []
    for number, at in enumerate(range(start, start + width - third + 1, third)):
        around = random_bases(np.random.default_rng(number), 2_000)
        around[:third] = corpus.bases[at : at + third]
        contigs.append(accepted(tmp_path, "Aaa aaa", f"contig{number}", around))
    other = make_corpus([*contigs, *records], config=CorpusConfig(**SMALL, test_fraction=0.2))
    assert not near_training(other, np.array([start + sum(c.length_bp for c in contigs)]), width, identity=0.97)[0]
    held = evaluation_pairs(corpus, Split.TEST, config, elsewhere=[other])
    assert start not in held.start and held.not_elsewhere == 1 == len(alone) - len(held)


def test_other_genomes_are_an_error(corpus, make_corpus, make_config, tmp_path):
    foreign = make_corpus([accepted(tmp_path, species_name(9), "x", random_bases(np.random.default_rng(1), 200_000))])
    with pytest.raises(ValueError, match="none of .* window pairs of split test is held out in all 2 corpora"):
        evaluation_pairs(corpus, Split.TEST, make_config(), elsewhere=[foreign])
