import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.read import open_corpus
from plantgfm.corpus.tables import sort_records
from plantgfm.corpus.write import write_corpus
from plantgfm.schema import Regions, Split
from plantgfm.sequence import REPEAT_BIT, UNKNOWN
from tests.corpus.conftest import SMALL
from tests.corpus.worlds import accepted, random_bases, species_name
from tests.damage import cut, flip

ARRAYS = ("bases", "unknown_bp", "repeat_bp", "unknown_runs", "cluster_id", "cluster_size")


def assert_equal(first, second):
    assert (first.fingerprint, first.species, first.records) == (second.fingerprint, second.species, second.records)
    for name in ARRAYS:
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    for field in dataclasses.fields(Regions):
        assert np.array_equal(getattr(first.regions, field.name), getattr(second.regions, field.name)), field.name


def test_the_corpus_holds_the_bases_of_its_records(written, records):
    assert written.species == tuple(species_name(i) for i in range(4))
    for source, record in zip(sort_records(records), written.records, strict=True):
        assert (record.species, record.name) == (source.assembly.species, source.name)
        assert np.array_equal(written.bases[record.offset : record.offset + record.length_bp], source.load())
    runs = written.unknown_runs
    found = np.concatenate([np.arange(start, end) for start, end in runs])
    assert np.array_equal(found, np.flatnonzero((written.bases & 7) == UNKNOWN))


def test_regions_tile_the_bases_and_count_them(written):
    table = written.regions
    assert np.array_equal(table.offset[1:], (table.offset + table.length_bp)[:-1])
    assert int(table.offset[-1] + table.length_bp[-1]) == written.bases.size
    for row in range(table.offset.size):
        span = written.bases[table.offset[row] : table.offset[row] + table.length_bp[row]]
        record = written.records[table.record[row]]
        assert record.offset + table.start[row] == table.offset[row]
        assert written.species[table.species[row]] == record.species
        assert written.unknown_bp[row] == np.sum((span & 7) == UNKNOWN)
        assert written.repeat_bp[row] == np.sum((span & REPEAT_BIT) > 0)


def test_the_order_of_input_does_not_matter(records, written, small, tmp_path):
    assert_equal(write_corpus(records[::-1], small, out=tmp_path / "c", lineage={}), written)
    for file in (tmp_path / "c" / "plant_corpus").rglob("*.array_record*"):
        twin = written.path / file.relative_to(tmp_path / "c")
        assert file.read_bytes() == twin.read_bytes()


def test_the_dataset_alone_makes_the_cache_again(written, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(written.path, copy)
    shutil.rmtree(copy / "cache")
    assert_equal(open_corpus(copy), written)


@pytest.mark.parametrize("file", ["bases.u8", "tables.npz", "tables.json", "cache.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
def test_a_damaged_cache_is_made_again(written, tmp_path, file, harm):
    copy = tmp_path / "copy"
    shutil.copytree(written.path, copy)
    path = copy / "cache" / file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    {
        "cut": lambda: path.write_bytes(raw[: len(raw) // 2]),
        "flip": lambda: path.write_bytes(raw),
        "remove": path.unlink,
    }[harm]()
    assert_equal(open_corpus(copy), written)
    assert sorted(p.name for p in copy.iterdir()) == sorted(p.name for p in written.path.iterdir())


def test_another_dataset_under_the_same_identity_is_refused(written, small, tmp_path):
    other = [accepted(tmp_path / "r", species_name(0), "chr1", random_bases(np.random.default_rng(3), 90_000))]
    made = write_corpus(other, small, out=tmp_path / "other", lineage={})
    shutil.rmtree(made.path / "cache")
    shutil.copy(written.path / "corpus.json", made.path / "corpus.json")
    with pytest.raises(ValueError, match="the dataset has fingerprint"):
        open_corpus(made.path)
    assert not (made.path / "cache").exists() and len(list(made.path.iterdir())) == 2


def test_a_missing_dataset_is_named(written, tmp_path):
    shutil.copytree(written.path, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "plant_corpus")
    assert_equal(open_corpus(tmp_path / "copy"), written)
    shutil.rmtree(tmp_path / "copy" / "cache")
    with pytest.raises(ValueError, match="holds no dataset"):
        open_corpus(tmp_path / "copy")


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("*.array_record*", cut),
        ("*.array_record*", flip),
        ("*.array_record*", Path.unlink),
        ("*.array_record*", lambda path: path.write_bytes(b"")),
        ("dataset_info.json", cut),
    ],
)
def test_a_damaged_dataset_is_one_clear_error(written, tmp_path, file, harm):
    shutil.copytree(written.path, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "cache")
    harm(min((tmp_path / "copy" / "plant_corpus" / "1.0.0").glob(file)))
    with pytest.raises(ValueError, match=r"copy/plant_corpus/1\.0\.0 is damaged, write the corpus again \(") as error:
        open_corpus(tmp_path / "copy")
    assert "\n" not in str(error.value) and not (tmp_path / "copy" / "cache").exists()


@pytest.mark.parametrize("name", ["version", "fingerprint", "config", "lineage"])
def test_an_identity_that_is_not_whole_is_no_corpus(written, tmp_path, name):
    stated = json.loads((written.path / "corpus.json").read_text())
    del stated[name]
    (tmp_path / "corpus.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="is no corpus: its corpus.json is damaged, write it again"):
        open_corpus(tmp_path)


def test_what_is_no_corpus_is_refused(tmp_path, written):
    with pytest.raises(ValueError, match="is no corpus"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("not json")
    with pytest.raises(ValueError, match="can't be read"):
        open_corpus(tmp_path)
    (tmp_path / "corpus.json").write_text("{}")
    with pytest.raises(ValueError, match="does not say so"):
        open_corpus(tmp_path)
    with pytest.raises(ValueError, match="is no corpus"):
        open_corpus(tmp_path / "corpus.json")
    stated = json.loads((written.path / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps({**stated, "version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        open_corpus(tmp_path)


def test_a_place_that_is_taken_is_left_alone(records, small, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="nothing was overwritten"):
        write_corpus(records, small, out=tmp_path, lineage={})
    with pytest.raises(ValueError, match="nothing was overwritten"):
        write_corpus(records, small, out=tmp_path / "mine.txt", lineage={})
    assert (tmp_path / "mine.txt").read_text() == "precious"
    with pytest.raises(ValueError, match="no records"):
        write_corpus([], small, out=tmp_path / "new", lineage={})


def test_equal_content_is_kept_and_other_content_replaces_it(records, small, tmp_path):
    out = tmp_path / "corpus"
    first = write_corpus(records[:3], small, out=out, lineage={"run": 1})
    stamp = (out / "cache" / "bases.u8").stat().st_mtime_ns
    again = write_corpus(records[:3], small, out=out, lineage={"run": 2})
    assert (out / "cache" / "bases.u8").stat().st_mtime_ns == stamp
    assert again.lineage == {"run": 2} and again.fingerprint == first.fingerprint
    other = write_corpus(records[:5], small, out=out, lineage={})
    assert other.fingerprint != first.fingerprint and len(open_corpus(out).records) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_nothing_half_written_stays(records, small, tmp_path):
    def stop(label, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(records, small, out=tmp_path / "corpus", lineage={}, progress=stop)
    assert not list(tmp_path.iterdir())


def test_no_bucket_is_asked_and_no_temporary_folder_left(records, small, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    asked = "tensorflow_datasets.core.utils.gcs_utils.gcs_dataset_info_files"
    monkeypatch.setattr(asked, lambda name: pytest.fail(f"a bucket was asked for {name}"))
    write_corpus(records[:3], small, out=tmp_path / "corpus", lineage={})
    assert not list((tmp_path / "temporary").iterdir())


def test_the_fingerprint_speaks_of_content_not_of_paths(records, written, small, tmp_path):
    moved = [dataclasses.replace(r, bases=Path(shutil.copy(r.bases, tmp_path))) for r in records]
    assert write_corpus(moved, small, out=tmp_path / "a", lineage={}).fingerprint == written.fingerprint
    seeded = dataclasses.replace(small, seed=1)
    assert write_corpus(moved, seeded, out=tmp_path / "b", lineage={}).fingerprint != written.fingerprint
    raw = bytearray(moved[0].bases.read_bytes())
    raw[100] ^= REPEAT_BIT
    moved[0].bases.write_bytes(raw)
    assert write_corpus(moved, small, out=tmp_path / "c", lineage={}).fingerprint != written.fingerprint


def test_clusters_come_back_for_every_window(tmp_path, small):
    bases = random_bases(np.random.default_rng(0), 70_000)
    ids, sizes = np.arange(12, dtype=np.int64) - 1, np.arange(12, dtype=np.int32) + 1
    record = accepted(tmp_path, species_name(0), "chr1", bases, cluster_id=ids, cluster_size=sizes)
    corpus = write_corpus([record], small, out=tmp_path / "c", lineage={})
    assert np.array_equal(corpus.cluster_id, ids) and np.array_equal(corpus.cluster_size, sizes)
    assert corpus.cluster_rows(0, 0, 6_144) == slice(0, 1)
    assert corpus.cluster_rows(0, 6_143, 6_145) == slice(0, 2)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A record in three pieces; as text, the start of the second would stand behind that of the third."""
    folder, rng = tmp_path_factory.mktemp("pieces"), np.random.default_rng(8)
    parts = {start: random_bases(rng, length) for start, length in ((0, 70_000), (90_001, 40_000), (190_000, 30_003))}
    rows = [accepted(folder, species_name(0), "chr1", part, start=start) for start, part in parts.items()]
    return parts, rows, write_corpus(rows[::-1], CorpusConfig(**SMALL), out=folder / "corpus", lineage={})


def test_pieces_of_a_record_know_where_they_were_and_no_region_spans_two(pieces):
    parts, _, corpus = pieces
    assert [(record.name, record.start, record.length_bp) for record in corpus.records] == [
        ("chr1", start, part.size) for start, part in parts.items()
    ]
    for row in range(corpus.regions.offset.size):
        record = corpus.records[corpus.regions.record[row]]
        start, length = corpus.regions.start[row], corpus.regions.length_bp[row]
        span = corpus.bases[corpus.regions.offset[row] : corpus.regions.offset[row] + length]
        assert start + length <= record.length_bp
        assert np.array_equal(span, parts[record.start][start : start + length])
    (corpus.path / "cache" / "bases.u8").unlink()
    assert_equal(open_corpus(corpus.path), corpus)


def test_where_a_piece_was_is_content_and_draws_its_splits(pieces, small, tmp_path):
    _, rows, corpus = pieces
    moved = [dataclasses.replace(row, start=row.start + 64 * (row.start > 0)) for row in rows]
    other = write_corpus(moved, small, out=tmp_path / "moved", lineage={})
    assert other.fingerprint != corpus.fingerprint
    assert not np.array_equal(other.regions.split, corpus.regions.split)


def test_a_dataset_from_before_pieces_were_known_reads_as_whole_records(written, tmp_path, monkeypatch):
    from plantgfm.corpus import dataset

    real = dataset.read_dataset
    older = lambda corpus: ({k: v for k, v in e.items() if k != "record_start"} for e in real(corpus))  # noqa: E731
    monkeypatch.setattr(dataset, "read_dataset", older)
    shutil.copytree(written.path, tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / "cache")
    assert_equal(open_corpus(tmp_path / "c"), written)


def test_the_fingerprint_of_whole_records_is_as_before_pieces_were_known(written):
    from plantgfm.corpus.segments import CorpusRecord
    from plantgfm.corpus.tables import _claim

    names = [field.name for field in dataclasses.fields(CorpusRecord) if field.name != "start"]
    assert [list(_claim(record)) for record in written.records] == [names] * len(written.records)
    assert _claim(dataclasses.replace(written.records[0], start=7))["start"] == 7


def test_the_summary_adds_up(written, tmp_path, small):
    rows = written.summary()
    assert sum(row["bp"] for row in rows) == written.bases.size
    for row in rows:
        assert sum(row[f"{split.name.lower()}_bp"] for split in Split) == row["bp"]
        assert min(row[f"{split.name.lower()}_regions"] for split in Split) >= 1
        assert row["records"] == 2 and row["short_region_bp"] == 0
    assert sum(r["repeat_fraction"] * r["bp"] for r in rows) == pytest.approx(np.sum((written.bases & REPEAT_BIT) > 0))
    short = accepted(tmp_path, species_name(1), "scrap", random_bases(np.random.default_rng(1), 900))
    (row,) = write_corpus([short], small, out=tmp_path / "c", lineage={}).summary()
    assert (row["short_region_bp"], row["train_bp"], row["test_regions"]) == (900, 900, 0)


def test_regions_of_unknown_bases_are_never_held_out(tmp_path):
    bases = random_bases(np.random.default_rng(0), 32_000)
    bases[:28_000] = UNKNOWN
    record = accepted(tmp_path, species_name(0), "chr1", bases)
    config = CorpusConfig(region_bp=1_000, segment_bp=4_000, min_region_bp=500)
    corpus = write_corpus([record], config, out=tmp_path / "c", lineage={})
    held_out = corpus.regions.split != int(Split.TRAIN)
    assert held_out.sum() == 2 and np.all(corpus.unknown_bp[held_out] == 0)


READ_WITHOUT_TENSORFLOW = """
import sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1] + "/plant_corpus/1.0.0")
source = builder.as_data_source(split="train")
print(sum(int(source[i]["length_bp"]) for i in range(len(source))))
from plantgfm.corpus.read import open_corpus
print(sum(row["train_bp"] for row in open_corpus(sys.argv[1]).summary()))
print("tensorflow" in sys.modules)
"""


def test_tfds_alone_reads_the_dataset_without_tensorflow(written):
    command = [sys.executable, "-c", READ_WITHOUT_TENSORFLOW, str(written.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total = sum(row["train_bp"] for row in written.summary())
    assert done.stdout.split() == [str(total), str(total), "False"]


def test_the_published_builder_gives_the_same_segments(written, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    from data.plant_corpus.plant_corpus import PlantCorpus

    builder = PlantCorpus(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=written.path))
    ours = tfds.builder_from_directory(str(written.path / "plant_corpus" / "1.0.0"))
    for split in ("train", "validation", "test"):
        theirs, mine = (b.as_data_source(split=split) for b in (builder, ours))
        assert len(theirs) == len(mine) > 0
        assert all(theirs[i]["packed"] == mine[i]["packed"] for i in range(len(mine)))
