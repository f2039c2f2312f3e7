"""What is probed: parts by group, windows in turns, tiles of one class, tasks of files without leaks."""

import gzip
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_data import Part, Pool, choose_pairs, split_groups, tile_probe, window_probes
from plantgfm.ablation.tasks import task_probes
from plantgfm.formats.errors import FormatError
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.schema import Split
from plantgfm.sequence import UNKNOWN, decode, encode, reverse_complement
from tests.evaluation.conftest import corpus, sampler  # noqa: F401

CONFIG = ProbeConfig(windows=60, tile_bp=126, class_tiles=30, task_rows=60)


def test_groups_stay_whole_and_every_stratum_has_every_part():
    stratum = np.repeat([0, 1, 2], (40, 40, 4))
    group = np.concatenate([np.arange(40) // 4, 100 + np.arange(40) // 8, 200 + np.arange(4) // 2])
    part = split_groups(group, stratum, seed=0)
    for name in np.unique(group):
        assert np.unique(part[group == name]).size == 1
    for name in (0, 1):
        assert set(part[stratum == name]) == {Part.FIT, Part.TUNE, Part.TEST}
    assert (part[stratum == 2] == Part.UNUSED).all()  # two groups can't be three parts
    np.testing.assert_array_equal(part, split_groups(group, stratum, seed=0))
    assert (part != split_groups(group, stratum, seed=1)).any()


def test_rows_that_the_files_hold_out_are_scored_and_no_other():
    group, fixed = np.arange(30), np.arange(30) >= 20
    part = split_groups(group, np.zeros(30, np.int64), seed=0, fixed=fixed)
    np.testing.assert_array_equal(part == Part.TEST, fixed)
    assert {*part[~fixed]} == {Part.FIT, Part.TUNE}


def test_windows_are_of_all_species_and_parted_by_region(corpus, sampler):  # noqa: F811
    pairs = evaluation_pairs(corpus, Split.TEST, sampler)
    chosen = choose_pairs(pairs, 30, seed=0)
    assert np.bincount(chosen.species).tolist() == [10, 10, 10]
    species, share = window_probes(corpus, chosen, window_bp=sampler.window_bp, config=CONFIG)
    assert species.classes == corpus.species and species.rows.size == 60
    regions = [set(species.group[species.part == one].tolist()) for one in (Part.FIT, Part.TUNE, Part.TEST)]
    assert all(regions) and not (regions[0] & regions[1] or regions[0] & regions[2] or regions[1] & regions[2])
    marked = [corpus.bases[at : at + sampler.window_bp] & 8 > 0 for at in (*chosen.start, *chosen.next_start)]
    np.testing.assert_allclose(share.labels, [one.mean() for one in marked])
    assert all(codes.max() <= 4 for codes in share.pool.sequences)  # the mask is the label: it is not in the sequence


def test_tiles_are_of_one_class_and_hold_its_bases(corpus, sampler):  # noqa: F811
    pairs = evaluation_pairs(corpus, Split.TEST, sampler)
    classes = {0: "even", 1: "odd"}

    def paint(record):
        kinds = (np.arange(record.length_bp) // 400 % 2).astype(np.uint8)
        return None if record.species == corpus.species[0] else kinds

    sizes = {"window_bp": sampler.window_bp, "config": CONFIG}
    probe = tile_probe("parity", corpus, pairs, paint=paint, classes=classes, **sizes)
    assert probe.classes == ("even", "odd") and np.bincount(probe.labels).tolist() == [30, 30]
    assert (corpus.regions.species[probe.group] > 0).all()
    text = [decode(corpus.bases[record.offset : record.offset + record.length_bp]) for record in corpus.records]
    for codes, label in zip(probe.pool.sequences[:9], probe.labels):
        at = next(found for whole in text[1:] if (found := whole.find(decode(codes))) >= 0)
        assert np.mean((at + np.arange(126)) // 400 % 2 == label) >= CONFIG.class_share
    with pytest.raises(ValueError, match="too few held-out tiles of 126 bp of one class each .even [0-9]+, none 0"):
        tile_probe("one", corpus, pairs, paint=paint, classes={0: "even", 7: "none"}, **sizes)


def test_simple_features_are_gc_with_its_powers_and_k_mers_of_both_strands():
    pool = Pool("some", [encode(text) for text in ("GGCC", "ATAT", "ACGT", "ACGGT")])
    np.testing.assert_allclose(pool.gc, [[1, 1, 1], [0, 0, 0], [0.5, 0.25, 0.125], [0.6, 0.36, 0.216]])
    turned = Pool("turned", [reverse_complement(codes) for codes in pool.sequences])
    np.testing.assert_allclose(pool.kmers(2), turned.kmers(2))
    assert pool.kmers(2).shape == (4, 10) and not np.allclose(pool.kmers(2)[0], pool.kmers(2)[1])


def test_windows_of_one_species_tell_no_species(corpus, sampler):  # noqa: F811
    pairs = evaluation_pairs(corpus, Split.TEST, sampler)
    rows = pairs.species == 1
    names = ("region", "species", "start", "next_start", "reverse", "distance_bp")
    alone = replace(pairs, **{name: getattr(pairs, name)[rows] for name in names})
    with pytest.raises(ValueError, match="1 species with 3 held-out regions or more: two are the least"):
        window_probes(corpus, alone, window_bp=sampler.window_bp, config=CONFIG)


def few_windows():
    """A corpus of 12 regions of 100 bp and a pair of windows of 48 bp in each; the classes of its bases."""
    bases, classes = np.arange(1_200).astype(np.uint8) % 4, (np.arange(1_200) // 100 % 2).astype(np.uint8)
    record, at = SimpleNamespace(offset=0, length_bp=1_200), np.arange(12)
    few = SimpleNamespace(bases=bases, records=[record], regions=SimpleNamespace(record=np.zeros(12, np.int32)))
    return few, SimpleNamespace(region=at, species=at * 0, start=100 * at, next_start=100 * at + 50), classes


def test_tiles_of_mixed_classes_and_of_many_unknown_bases_are_left_out():
    few, pairs, classes = few_windows()
    config = ProbeConfig(windows=40, tile_bp=24, class_tiles=30)
    given = {"classes": {0: "even", 1: "odd"}, "window_bp": 48, "config": config}
    whole = tile_probe("parity", few, pairs, paint=lambda record: classes, **given)
    assert np.bincount(whole.labels).tolist() == [24, 24] and whole.note.startswith("tiles of 24 bp with at least 67%")
    few.bases[:3] = UNKNOWN  # of 24: more than a tenth
    few.bases[200:202] = UNKNOWN
    classes[50:59] = 1  # 9 of the 24 bases of a tile
    less = tile_probe("parity", few, pairs, paint=lambda record: classes, **given)
    assert np.bincount(less.labels).tolist() == [22, 24]
    assert set(less.group) == set(range(12)) and (less.stratum == 0).all()


def write_tasks(folder, *, leak=True, label="0.5"):
    """A folder with both kinds of files; one scored promoter is a fitted one's other strand, one its gene's."""
    generator = np.random.default_rng(0)

    def sequence(size):
        return decode(generator.integers(0, 4, size).astype(np.uint8))

    pgb, sites = folder / "pgb" / "promoter_strength" / "leaf", folder / "6mA_fictus"
    pgb.mkdir(parents=True)
    sites.mkdir()
    train = [{"sequence": sequence(170), "name": f"G{at}_At", "label": float(at)} for at in range(60)]
    test = [{"sequence": sequence(170), "name": f"H{at}_Zm", "label": float(at)} for at in range(30)]
    if leak:
        test[0]["sequence"] = train[50]["sequence"][::-1].translate(str.maketrans("ACGT", "TGCA"))
        test[1]["name"] = "G7_Zm"
    for name, rows in (("train", train), ("test", test)):
        with gzip.open(pgb / f"{name}.json.gz", "wt") as stream:
            stream.write("".join(json.dumps(row) + "\n" for row in rows))
        with gzip.open(sites / f"{name}.tsv.gz", "wt") as stream:
            rows = "".join(f"{at}\t{at % 2}\t{sequence(41)}\n" for at in range(60))
            stream.write(f"index\tlabel\ttext\n{rows}")
    return folder


def test_tasks_keep_the_split_of_their_files_without_what_lies_on_both_sides(tmp_path):
    found, skipped = task_probes(write_tasks(tmp_path), CONFIG)
    strength, sites = found
    assert [one.name for one in found] == ["promoter strength", "6mA, fictus"]
    assert "promoter_strength_leaf holds no table" in skipped["promoter strength, leaf"]
    assert "2 of 30 scored rows dropped" in strength.note and "0 of 60" in sites.note
    assert np.sum(strength.part == Part.TEST) == 21 == round(0.35 * 60) and strength.part.size == 60
    assert strength.labels.dtype == np.float64 and sites.classes == ("none", "6mA") and set(sites.labels) == {0, 1}
    assert {codes.size for codes in strength.pool.sequences} == {170}


def test_a_set_without_a_split_is_parted_by_gene(tmp_path):
    (tmp_path / "promoter_strength_leaf").mkdir()
    rows = "".join(f"test\tAt\tG{at // 3}\t{'ACGT' * 5}{'ACGT'[at % 4]}\t{at}.5\n" for at in range(45))
    (tmp_path / "promoter_strength_leaf" / "t.tsv").write_text(f"set\tsp\tgene\tsequence\tenrichment\n{rows}")
    (one,), skipped = task_probes(tmp_path, CONFIG)
    assert one.name == "promoter strength, leaf" and "6mA" in skipped and "promoter strength" in skipped
    for gene in np.unique(one.group):
        assert np.unique(one.part[one.group == gene]).size == 1


def test_no_folder_is_a_reason_and_a_malformed_file_an_error(tmp_path):
    assert task_probes(None, CONFIG)[1]["6mA"] == "no folder of tasks was given"
    with pytest.raises(ValueError, match="is no folder of tasks"):
        task_probes(tmp_path / "none", CONFIG)
    sites = tmp_path / "6mA_x"
    sites.mkdir()
    assert "test.tsv.gz is not there" in task_probes(write_one(sites), CONFIG)[1]["6mA, x"]
    with gzip.open(sites / "test.tsv.gz", "wt") as stream:
        stream.write("index\tlabel\ttext\n0\t2\tACGT\n")
    with pytest.raises(FormatError, match="label '2' is neither 0 nor 1"):
        task_probes(tmp_path, CONFIG)
    with gzip.open(sites / "test.tsv.gz", "wt") as stream:
        stream.write("index\tlabel\tsequence\n0\t1\tACGT\n")
    with pytest.raises(FormatError, match="lacks column 'text'"):
        task_probes(tmp_path, CONFIG)


def write_one(sites):
    with gzip.open(sites / "train.tsv.gz", "wt") as stream:
        stream.write("index\tlabel\ttext\n0\t1\tACGT\n")
    return sites.parent


def test_settings_that_leave_nothing_are_refused():
    for wrong, words in (({"windows": 3}, "probes.windows=3 is too few"), ({"class_share": 0.5}, "has two classes")):
        with pytest.raises(ValueError, match=words):
            ProbeConfig(**wrong)
