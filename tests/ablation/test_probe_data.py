"""What is probed: parts by group, windows in turns, tiles of one class, tasks of files without leaks."""

import gzip
import json

import numpy as np
import pytest

from plantgfm.ablation.config import ProbeConfig
from plantgfm.ablation.probe_data import Part, choose_pairs, split_groups, tile_probe, window_probes
from plantgfm.ablation.tasks import task_probes
from plantgfm.formats.errors import FormatError
from plantgfm.sampling.evaluation_windows import evaluation_pairs
from plantgfm.schema import Split
from plantgfm.sequence import decode
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
