"""Curation from end to end on tiny genomes: what is planted is caught, nothing is done twice, no half file stays."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from plantgfm.curation import curate as curate_module
from plantgfm.curation import join as join_module
from plantgfm.curation import store as store_module
from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.passport import PassportRecord, write_passport
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Compartment, Feature
from plantgfm.sequence import BASE_MASK, REPEAT_BIT, Interval, reverse_complement
from tests.curation.planted import finals, flags, mutated, random_codes, write_assembly

CHROMOSOMES = [random_codes(60_000, 71), random_codes(40_000, 72)]
FOREIGN = random_codes(30_000, 73)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Assemblies with one defect of each kind, a passport and references."""
    folder = tmp_path_factory.mktemp("world")
    tail = random_codes(5_000, 74)
    tail[-50:] = 4
    empty = random_codes(5_000, 75)
    empty[:3_000] = 4
    chimera = np.concatenate([random_codes(20_000, 76), FOREIGN[:3_000], random_codes(20_000, 77)])
    first = [
        ("chr1 length=60001", CHROMOSOMES[0]),
        ("chr2", CHROMOSOMES[1]),
        ("cut length=9000", tail),
        ("empty", empty),
        ("short", random_codes(500, 78)),
        ("bacterium", mutated(FOREIGN[5_000:20_000], 0.96)),
        ("twin", reverse_complement(CHROMOSOMES[1])),
        ("miss", mutated(CHROMOSOMES[1], 0.95, 3)),
        ("chimera", chimera),
        ("ChrC 1..2000", random_codes(2_000, 79)),
    ]
    again = [
        (f"c{i}", np.ascontiguousarray(reverse_complement(mutated(c, 0.998, i)))) for i, c in enumerate(CHROMOSOMES)
    ]
    other = [random_codes(80_000, 80)]
    cultivar = [mutated(other[0], 0.98, 5)]
    part = random_codes(30_000, 82)
    crumbs = [(f"k{i}", crumb) for i, crumb in enumerate(np.array_split(random_codes(90_000, 81), 30))]
    tertius = {"species": "Tertius tres", "accession": "A1", "expected_size_bp": 80_000}
    rows = [
        write_assembly(folder, "first", first),
        write_assembly(folder, "again", again),
        write_assembly(folder, "stolen", [("s", reverse_complement(other[0]))], species="Alter duo"),
        write_assembly(folder, "other", [("o", other[0])], **tertius),
        write_assembly(folder, "wrong", [("w", cultivar[0])], **tertius),
        write_assembly(folder, "crumbs", crumbs, species="Quartus quattuor", expected_size_bp=90_000),
        write_assembly(folder, "part", [("p", part)], species="Quintus quinque", expected_size_bp=90_000),
    ]  # fmt: skip
    write_fasta(folder / "a1.fa", [("a1", mutated(other[0], 0.999, 6))])
    write_fasta(folder / "a2.fa", [("a2", mutated(cultivar[0], 0.999, 7))])
    claims = [PassportRecord(n, "X", "Tertius", "tres", refsketch=folder / f"{n.lower()}.fa") for n in ("A1", "A2")]
    write_passport(folder / "passport.tsv", claims)
    write_fasta(folder / "foreign.fa", [("f", FOREIGN)])
    table = [{"name": "Some bacterium", "kind": "foreign", "path": "foreign.fa"}]
    write_tsv(folder / "references.tsv", table, columns=["name", "kind", "path"])
    return folder, rows


def run(world, store, rows=None, **more):
    folder, known = world
    return curate(
        rows or known,
        more.pop("config", CurationConfig()),
        store=store,
        passport=folder / "passport.tsv",
        references=folder / "references.tsv",
        **more,
    )


@pytest.fixture(scope="module")
def curation(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("store"))


def test_every_planted_defect_is_caught_and_every_clean_record_kept(curation):
    assert finals(curation) == {
        ("first", "chr1"): ("accepted", "accepted"),
        ("first", "chr2"): ("accepted", "accepted"),
        ("first", "cut"): ("completeness", "truncated"),
        ("first", "empty"): ("completeness", "n_rich"),
        ("first", "short"): ("completeness", "too_short"),
        ("first", "bacterium"): ("contamination", "foreign_organism"),
        ("first", "twin"): ("duplicates", "reverse_complement_twin"),
        ("first", "miss"): ("accepted", "accepted"),
        ("first", "chimera"): ("accepted", "accepted"),
        ("first", "ChrC"): ("contamination", "plastid_under_nuclear_label"),
        ("again", "c0"): ("duplicates", "near_duplicate"),
        ("again", "c1"): ("duplicates", "near_duplicate"),
        ("other", "o"): ("accepted", "accepted"),
        ("stolen", "s"): ("duplicates", "same_sequence_two_species"),
        ("wrong", "w"): ("label", "label_mismatch"),
        ("part", "p"): ("completeness", "incomplete_assembly"),
        **{("crumbs", f"k{i}"): ("assembly_score", "fragmented_assembly") for i in range(30)},
    }
    assert flags(curation)["first", "chr1"] == {"length_disagrees"}
    assert flags(curation)["first", "chimera"] == {"foreign_organism_masked"}


def test_ledger_covers_the_input(curation):
    assert (
        sum(r.records for r in curation.ledger.rows() if r.outcome != "flagged") == curation.ledger.input_records == 46
    )
    assert all(d.evidence for d in curation.ledger.decisions)
    (kept,) = [d for d in curation.ledger.decisions if d.record == "o"]
    assert "label verified: distance to the reference of A1" in kept.evidence


def test_accepted_bases_are_the_files_with_foreign_intervals_masked(curation):
    accepted = {(a.assembly.assembly, a.name): a for a in curation.accepted}
    assert np.array_equal(accepted["first", "chr1"].load() & BASE_MASK, CHROMOSOMES[0])
    assert np.array_equal(accepted["first", "chr2"].load() & BASE_MASK, CHROMOSOMES[1])
    chimera = accepted["first", "chimera"].load() & BASE_MASK
    assert (chimera[20_500:22_500] == 4).all() and (chimera[:19_000] < 4).all() and (chimera[24_000:] < 4).all()
    for record in accepted.values():
        windows = -(-record.length_bp // record.cluster_window_bp)
        assert record.cluster_id.shape == record.cluster_size.shape == (windows,)


def test_order_of_input_and_workers_change_nothing(world, curation, tmp_path):
    _, rows = world
    backwards = run(world, tmp_path / "a", rows[::-1])
    with ThreadPoolExecutor(3) as executor:
        threaded = run(world, tmp_path / "b", executor=executor)
    for other in (backwards, threaded):
        assert other.fingerprint == curation.fingerprint
        assert other.ledger.decisions == curation.ledger.decisions
        assert [a.name for a in other.accepted] == [a.name for a in curation.accepted]


def test_fingerprint_speaks_of_content_not_of_paths(world, tmp_path):
    plain = [("r", random_codes(20_000, 90))]
    here = write_assembly(tmp_path / "here", "x", plain)
    there = write_assembly(tmp_path / "there", "x", plain)
    other = write_assembly(tmp_path / "other", "x", [("r", random_codes(20_000, 91))])
    renamed = write_assembly(tmp_path / "renamed", "x", plain, species="Alter duo")
    found = [run(world, tmp_path / "s", [row]).fingerprint for row in (here, there, other, renamed)]
    assert found[0] == found[1] and len(set(found)) == 3


def test_unchanged_input_is_not_processed_again(world, tmp_path, monkeypatch):
    folder, rows = world
    done = []
    monkeypatch.setattr(curate_module, "prepare", lambda task, real=curate_module.prepare: done.append(real(task)))
    first = run(world, tmp_path, rows[:3])
    assert (len(done), first.reused) == (3, 0)
    again = run(world, tmp_path, rows[:3])
    assert (len(done), again.reused) == (3, 3) and again.fingerprint == first.fingerprint
    more = run(world, tmp_path, rows[:4])
    assert (len(done), more.reused) == (4, 3), "an added assembly touches itself alone"
    config = CurationConfig()
    config.duplicates.assembly_identity = 0.999
    run(world, tmp_path, rows[:4], config=config)
    assert len(done) == 4, "thresholds of the join prepare nothing again"
    config.completeness.min_record_bp = 100
    run(world, tmp_path, rows[:4], config=config)
    assert len(done) == 8


def test_changed_content_is_processed_again(world, tmp_path):
    row = write_assembly(tmp_path, "x", [("r", random_codes(20_000, 90))])
    first = run(world, tmp_path / "s", [row])
    write_assembly(tmp_path, "x", [("r", random_codes(20_001, 92))])
    second = run(world, tmp_path / "s", [row])
    assert second.reused == 0 and second.fingerprint != first.fingerprint


def test_crash_in_the_middle_leaves_no_half_file_and_the_next_run_goes_on(world, curation, tmp_path, monkeypatch):
    _, rows = world
    real, calls = np.savez, []

    def broken(stream, **arrays):
        calls.append(1)
        if len(calls) == 3:
            stream.write(b"half")
            raise KeyboardInterrupt
        real(stream, **arrays)

    monkeypatch.setattr(store_module.np, "savez", broken)
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path)
    monkeypatch.undo()
    names = [path.name for path in (tmp_path / "assemblies").iterdir()]
    assert not [name for name in names if name.endswith(".part")]
    assert [sum(name.endswith(end) for name in names) for end in (".json", ".npz")] == [2, 2]
    after = run(world, tmp_path)
    assert after.fingerprint == curation.fingerprint and after.reused == 2


def test_annotation_and_index_are_signs(world, tmp_path):
    records = [("long", random_codes(20_000, 93)), ("fine", random_codes(20_000, 94))]
    row = write_assembly(tmp_path, "x", records)
    features = [Feature(Interval("long", 100, 30_000), "gene"), Feature(Interval("fine", 100, 19_000), "gene")]
    write_gff3(tmp_path / "x.gff3", features)
    row = write_assembly(tmp_path, "x", records, annotation=tmp_path / "x.gff3")
    assert finals(run(world, tmp_path / "s", [row]))["x", "long"] == ("accepted", "accepted")
    (tmp_path / "x.fa.gz.fai").write_text("long\t31000\t6\t60\t61\nfine\t20000\t6\t60\t61\n")
    found = run(world, tmp_path / "s", [row])
    assert finals(found) == {("x", "long"): ("completeness", "truncated"), ("x", "fine"): ("accepted", "accepted")}
    assert flags(found) == {}
    (tmp_path / "x.fa.gz.fai").write_text("fine\t20000\t6\t60\t61\nlong\t20000\t6\t60\t61\nlost\t7\t6\t60\t61\n")
    told = flags(run(world, tmp_path / "s", [row]))
    assert told == {("x", "long"): {"length_disagrees", "records_missing"}, ("x", "fine"): {"records_missing"}}
    (tmp_path / "x.fa.gz.fai").write_text("nonsense\n")
    with pytest.raises(FormatError, match="line 1"):
        run(world, tmp_path / "s", [row])


def test_repeat_bit_is_stored(world, tmp_path):
    element = random_codes(400, 95)
    parts = [part for i in range(4) for part in (random_codes(3_000, 96 + i), element)]
    row = write_assembly(tmp_path, "x", [("r", np.concatenate(parts))])
    (record,) = run(world, tmp_path / "s", [row]).accepted
    bases = record.load()
    assert (bases[3_000:3_400] & REPEAT_BIT).all() and (bases[:3_000] & REPEAT_BIT).mean() < 0.05
    assert record.repeat_source == "low-complexity+multiplicity"


def test_plastid_manifests_are_curated_too(world, tmp_path):
    row = write_assembly(tmp_path, "x", [("ChrC", random_codes(5_000, 97))], compartment=Compartment.PLASTID)
    assert finals(run(world, tmp_path / "s", [row])) == {("x", "ChrC"): ("accepted", "accepted")}


def test_bad_input_is_one_clear_error(world, tmp_path):
    _, rows = world
    with pytest.raises(ValueError, match="given twice"):
        run(world, tmp_path, [rows[0], rows[0]])
    with pytest.raises(ValueError, match="no assembly"):
        curate([], CurationConfig(), store=tmp_path)
    row = write_assembly(tmp_path, "x", [("r", random_codes(5_000))])
    row.fasta.write_bytes(b"@not fasta\n")
    with pytest.raises(FormatError, match=r"x\.fa\.gz"):
        run(world, tmp_path / "s", [row])
    assert not list((tmp_path / "s").glob("**/*.part"))


def test_progress_is_told(world, tmp_path):
    told = []
    run(world, tmp_path, world[1][:2], progress=lambda *args: told.append(args))
    assert [(done, total) for _, done, total in told] == [(0, 2), (1, 2), (1, 2), (2, 2)]
    assert [label for label, _, _ in told] == [told[0][0]] * 2 + [told[2][0]] * 2
    assert all(label.startswith("curate: ") and ".fa.gz (Testus unus)" in label for label, _, _ in told)


@pytest.mark.realdata
def test_real_genomes_keep_every_species(real_data, tmp_path):
    from plantgfm.formats.manifest import read_manifest

    names = ("arabidopsis_thaliana", "zea_mays", "ricinus_communis")
    rows = [r for r in read_manifest(real_data / "genomes" / "manifest.csv") if r.fasta.name.split(".")[0] in names]
    found = curate(rows, CurationConfig(), store=tmp_path)
    assert {a.assembly.species for a in found.accepted} == {r.species for r in rows} and len(rows) == 3
    rejected = {d.record for d in found.ledger.decisions if d.outcome.value == "rejected"}
    assert rejected == {"ChrM", "ChrC"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bases_are_not_held_once_windows_are_compared(tmp_path, monkeypatch):
    """What is mapped counts as memory: the bases of a whole genome would."""
    seen, cluster = [], join_module.cluster_windows

    def spied(sketches, verify, *, min_jaccard):
        def watched(chosen):
            large = verify(chosen)
            seen.append([line for line in Path("/proc/self/maps").read_text().splitlines() if ".bases" in line])
            return large

        return cluster(sketches, watched, min_jaccard=min_jaccard)

    monkeypatch.setattr(join_module, "cluster_windows", spied)
    family = random_codes(6_144, 91)
    codes = np.concatenate([random_codes(6_144, 92), family, random_codes(6_144, 93), family])
    found = curate([write_assembly(tmp_path, "one", [("r", codes)])], CurationConfig(), store=tmp_path / "store")
    assert found.accepted[0].cluster_size.tolist() == [1, 2, 1, 2]
    assert seen and not any(seen)
