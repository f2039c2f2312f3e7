"""Two corpora side by side: what was planted between them is found, per record and per species."""

from dataclasses import replace

import numpy as np
import pytest

from plantgfm.corpus.compare import Change, compare_records, summarise
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.schema import Assembly, Compartment
from plantgfm.sequence import REPEAT_BIT
from tests.corpus.conftest import SMALL
from tests.corpus.worlds import accepted, random_bases, species_name


@pytest.fixture(scope="module")
def bases():
    rng = np.random.default_rng(11)
    return {name: random_bases(rng, 90_000, gaps=2) for name in ("one", "two", "three", "four", "five")}


def made(folder, records, **layout):
    return write_corpus(records, CorpusConfig(**{**SMALL, **layout}), out=folder / "corpus", lineage={})


def other_base(sequence, place):
    changed = sequence.copy()
    changed[place] ^= 1
    return changed


@pytest.fixture(scope="module")
def pair(bases, tmp_path_factory):
    """Same: one. Another base: two. Another mask: three. Gone: four of species 1. Come: five; four under species 2."""
    folder = tmp_path_factory.mktemp("pair")
    known = [(0, "one"), (0, "two"), (1, "three"), (1, "four")]
    before = made(folder / "a", [accepted(folder / "a", species_name(i), n, bases[n]) for i, n in known])
    masked = bases["three"].copy()
    masked[5] ^= REPEAT_BIT
    now = [(0, "one", bases["one"]), (0, "two", other_base(bases["two"], 7)), (1, "three", masked)]
    now += [(2, "five", bases["five"]), (2, "four", bases["four"])]
    after = made(folder / "b", [accepted(folder / "b", species_name(i), n, found) for i, n, found in now])
    return before, after


def test_a_corpus_is_the_same_as_itself_written_elsewhere(pair):
    changes = compare_records(pair[0], pair[0])
    assert [c.change for c in changes] == [Change.SAME] * 4 and not any(c.resplit_bp for c in changes)


def test_every_change_of_a_record_is_named_once(pair):
    found = {(c.species[-2:], c.record): c.change for c in compare_records(*pair)}
    assert found == {
        ("00", "one"): Change.SAME,
        ("00", "two"): Change.BASES,
        ("01", "three"): Change.MASK,
        ("01", "four"): Change.REMOVED,
        ("02", "five"): Change.ADDED,
        ("02", "four"): Change.ADDED,
    }
    assert len(compare_records(*pair)) == 6


def test_turned_round_added_is_removed(pair):
    kinds = {c.record + c.species[-2:]: c.change for c in compare_records(*pair[::-1])}
    assert (kinds["five02"], kinds["four02"], kinds["four01"]) == (Change.REMOVED, Change.REMOVED, Change.ADDED)


def test_a_record_that_moved_names_where_its_bases_were(pair):
    twins = {c.record: c.twin for c in compare_records(*pair) if c.change is Change.ADDED}
    assert twins == {"five": "", "four": f"{species_name(1)} wild v1 nuclear four"}


def test_sums_per_species_balance(pair):
    before, after = pair
    rows = {row.species[-2:]: row for row in summarise(compare_records(before, after))}
    for row in rows.values():
        assert row.bp_after == row.bp_before + row.added_bp - row.removed_bp, "no length changed here"
    assert sum(row.bp_before for row in rows.values()) == before.bases.size
    assert sum(row.bp_after for row in rows.values()) == after.bases.size
    assert (rows["00"].changed_records, rows["00"].changed_bp, rows["00"].added_records) == (1, 90_000, 0)
    assert (rows["01"].changed_records, rows["01"].removed_records, rows["01"].removed_bp) == (1, 1, 90_000)
    assert (rows["02"].records_before, rows["02"].records_after, rows["02"].added_bp) == (0, 2, 180_000)
    assert rows["02"].resplit_bp == 0, "what was not there has no split to change"


@pytest.mark.parametrize("layout", [{"seed": 5}, {"region_bp": 12_288}, {"test_fraction": 0.3}])
def test_bases_that_changed_split_are_counted_one_by_one(bases, tmp_path, layout):
    records = [accepted(tmp_path, species_name(0), name, bases[name]) for name in ("one", "two")]
    before, after = made(tmp_path / "a", records), made(tmp_path / "b", records, **layout)
    for index, change in enumerate(compare_records(before, after)):
        splits = []
        for corpus in (before, after):
            regions, mine = corpus.regions, corpus.regions.record == index
            splits.append(np.repeat(regions.split[mine], regions.length_bp[mine]))
        assert change.change is Change.SAME and change.resplit_bp == int((splits[0] != splits[1]).sum())
    assert sum(row.resplit_bp for row in summarise(compare_records(before, after))) > 0


def in_file(record, name):
    origin = record.assembly
    claim = Assembly(
        origin.species, origin.cultivar, origin.assembly, Compartment.NUCLEAR, origin.fasta.with_name(name)
    )
    return replace(record, assembly=claim)


@pytest.mark.parametrize(
    ("known", "found", "said"),
    [
        (("one", "two", "three"), ("three", "four", "one", "five"), ["added", "bases changed", "same", "same"]),
        (("one", "one", "two"), ("one", "three"), ["bases changed", "removed", "same"]),
        (("one",), ("one", "one"), ["added", "same"]),
    ],
)
def test_records_of_one_name_are_paired_by_content_whatever_their_order(bases, tmp_path, known, found, said):
    def records(folder, *names):
        made_of = [accepted(tmp_path / folder / str(i), species_name(0), "r", bases[n]) for i, n in enumerate(names)]
        return [in_file(record, f"{i}.fa") for i, record in enumerate(made_of)]

    first, second = made(tmp_path / "a", records("x", *known)), made(tmp_path / "b", records("y", *found))
    assert sorted(c.change.value for c in compare_records(first, second)) == said


def test_another_compartment_is_another_record(bases, tmp_path):
    record = accepted(tmp_path, species_name(0), "r", bases["one"])
    origin = record.assembly
    plastid = Assembly(origin.species, origin.cultivar, origin.assembly, Compartment.PLASTID, origin.fasta)
    changes = compare_records(made(tmp_path / "a", [record]), made(tmp_path / "b", [replace(record, assembly=plastid)]))
    assert {c.change for c in changes} == {Change.ADDED, Change.REMOVED}
    assert [c.twin.split()[-2] for c in changes if c.twin] == ["nuclear"]


def test_pieces_of_a_record_are_told_apart_by_their_place(bases, tmp_path):
    def corpus(folder, starts):
        rows = [accepted(tmp_path / folder, species_name(0), "chr1", bases[n], start=s) for n, s in starts.items()]
        return made(tmp_path / folder, rows)

    known, found = corpus("a", {"one": 0, "two": 100_000}), corpus("b", {"one": 0, "two": 100_007})
    said = {(change.record, change.change) for change in compare_records(known, found)}
    assert said == {
        ("chr1", Change.SAME),
        ("chr1:100000-190000", Change.REMOVED),
        ("chr1:100007-190007", Change.ADDED),
    }
