"""Every planted defect is there as the list states it, measured without the code that will have to find it."""

from collections import defaultdict

import numpy as np
import pytest

from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.passport import read_passport
from plantgfm.formats.tables import read_tsv
from plantgfm.schema import Assembly, Record
from plantgfm.sequence import reverse_complement
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.defects import changed
from plantgfm.simulate.screens import make_screens
from tests.simulate.conftest import Files, containment, words

K = 21
KINDS = {
    "near_duplicate_other_strand": ("duplicates", "near_duplicate"),
    "reverse_complement_twin": ("duplicates", "reverse_complement_twin"),
    "near_miss_duplicate": ("accepted", "accepted"),
    "bacterial_contamination": ("contamination", "foreign_organism"),
    "vector_contamination": ("contamination", "vector"),
    "plastid_under_nuclear_label": ("contamination", "organelle_under_nuclear_label"),
    "truncated": ("completeness", "truncated"),
    "n_rich": ("completeness", "n_rich"),
    "fragmented_assembly": ("assembly_score", "fragmented_assembly"),
    "swapped_cultivar_label": ("label", "label_mismatch"),
    "header_states_another_length": ("accepted", "accepted"),
}


def rows(world: Files) -> dict[str, dict[str, str]]:
    return {row["kind"]: row for row in world.table("defects.tsv")}


def planted(world: Files, kind: str) -> tuple[Assembly, dict[str, Record]]:
    """The assembly of a defect and its records by name."""
    row = rows(world)[kind]
    (assembly,) = [one for one in read_manifest(world.path / "manifest.csv") if one.key == row["assembly"]]
    return assembly, {record.name: record for record in read_fasta(assembly.fasta)}


def planted_record(world: Files, kind: str) -> Record:
    return planted(world, kind)[1][rows(world)[kind]["record"]]


def all_words(records, k: int = K) -> set[int]:
    return set().union(*(words(record.codes, k) for record in records))


def identity(share: float, k: int = K) -> float:
    """Nucleotide identity at which this share of k-mers survives."""
    return share ** (1 / k)


def reference(world: Files, kind: str) -> dict[str, set[int]]:
    table = read_tsv(world.path / "references" / "references.tsv")
    return {
        row["name"]: all_words(read_fasta(world.path / "references" / row["path"]))
        for row in table
        if row["kind"] == kind
    }


def test_every_kind_is_planted_once_with_what_is_expected(world):
    found = world.table("defects.tsv")
    assert sorted(row["kind"] for row in found) == sorted(KINDS)
    for row in found:
        assert (row["expected_stage"], row["expected_reason"]) == KINDS[row["kind"]]


def test_assemblies_and_records_of_the_list_exist(world):
    for kind, row in rows(world).items():
        _, records = planted(world, kind)
        assert not row["record"] or row["record"] in records


def test_sound_assemblies_hold_no_other_extra_records(world):
    listed = defaultdict(set)
    for row in world.table("defects.tsv"):
        listed[row["assembly"]].add(row["record"])
    for assembly in read_manifest(world.path / "manifest.csv"):
        if assembly.annotation is not None:
            names = {record.name for record in read_fasta(assembly.fasta)}
            assert {name for name in names if name.startswith("unplaced")} == listed[assembly.key] - {""} - {"chr1"}


def test_near_duplicate_lies_on_the_other_strand(world):
    assembly, records = planted(world, "near_duplicate_other_strand")
    sound = world.assemblies[assembly.species]
    assert assembly.assembly != sound.assembly
    original = world.records[assembly.species]
    shared = containment(all_words(records.values()), all_words(original.values()))
    assert identity(shared) == pytest.approx(0.998, abs=0.001)

    def forward(codes: np.ndarray) -> set[bytes]:
        return {codes[i : i + 31].tobytes() for i in range(0, codes.size - 31)}

    first, last = list(original.values())[0], list(records.values())[-1]
    same = forward(first.codes) & forward(last.codes)
    turned = forward(reverse_complement(first.codes)) & forward(last.codes)
    assert len(turned) > 20 * max(1, len(same))


def test_twin_is_the_exact_reverse_complement_of_another_record(world):
    twin = planted_record(world, "reverse_complement_twin")
    _, records = planted(world, "reverse_complement_twin")
    others = [record for record in records.values() if record.name != twin.name]
    assert any(np.array_equal(reverse_complement(twin.codes), record.codes) for record in others)


def test_near_miss_is_95_per_cent_like_its_original(world):
    record = planted_record(world, "near_miss_duplicate")
    _, records = planted(world, "near_miss_duplicate")
    best = max(
        containment(words(record.codes, K), words(other.codes, K))
        for other in records.values()
        if other.name != record.name
    )
    assert identity(best) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "reference_kind"),
    [("bacterial_contamination", "foreign"), ("plastid_under_nuclear_label", "organelle")],
)
def test_contaminants_are_other_strains_of_a_reference(world, kind, reference_kind):
    found = words(planted_record(world, kind).codes, K)
    shares = {name: containment(found, known) for name, known in reference(world, reference_kind).items()}
    assert 0.94 < identity(max(shares.values())) < 0.975


def test_half_of_the_vector_record_is_vector(world):
    found = words(planted_record(world, "vector_contamination").codes, K)
    share = max(containment(found, known) for known in reference(world, "vector").values())
    assert 0.25 * 0.96**K < share < 0.75 * 0.97**K


def test_no_sound_record_shares_sequence_with_references(world):
    known = set().union(*(s for kind in ("foreign", "vector", "organelle") for s in reference(world, kind).values()))
    listed = {row["record"] for row in world.table("defects.tsv")}
    for records in world.records.values():
        for record in records.values():
            if record.name not in listed and not record.name.startswith("unplaced"):
                assert containment(words(record.codes, K), known) < 0.001


def test_truncated_scaffold_has_two_independent_signs(world):
    record = planted_record(world, "truncated")
    stated = int(record.description.removeprefix("length="))
    assert stated > 1.5 * record.length_bp
    assert (record.codes[-60:] == 4).all()
    assert (record.codes[:-60] == 4).mean() < 0.05


def test_n_rich_scaffold_is_mostly_unknown(world):
    record = planted_record(world, "n_rich")
    assert 0.55 < (record.codes == 4).mean() < 0.75
    assert record.length_bp > 10_000


def test_a_header_alone_lies_in_one_record(world):
    record = planted_record(world, "header_states_another_length")
    assert int(record.description.removeprefix("length=")) > 1.2 * record.length_bp
    assert (record.codes == 4).mean() < 0.05


def test_fragmented_assembly_has_short_contigs_and_a_stated_size(world):
    assembly, records = planted(world, "fragmented_assembly")
    lengths = np.sort([record.length_bp for record in records.values()])[::-1]
    n50 = lengths[np.searchsorted(np.cumsum(lengths), lengths.sum() / 2)]
    assert n50 < 5_000
    assert lengths.min() >= 1_000
    assert assembly.expected_size_bp is not None
    assert lengths.sum() > 0.6 * assembly.expected_size_bp
    assert assembly.accession == ""


def test_swapped_label_belongs_to_the_other_cultivar(world):
    assembly, records = planted(world, "swapped_cultivar_label")
    passport = read_passport(world.path / "passport.tsv")
    content = all_words(records.values())
    near = {
        record.accenumb: identity(containment(all_words(read_fasta(record.refsketch)), content))
        for record in passport
        if record.binomial == assembly.species
    }
    assert len(near) == 2
    claimed = near.pop(assembly.accession)
    (other,) = near.values()
    assert other == pytest.approx(0.999, abs=0.0015)
    assert claimed == pytest.approx(0.98, abs=0.006)


def test_right_labels_are_nearest_to_their_own_reference(world):
    passport = {record.accenumb: record for record in read_passport(world.path / "passport.tsv")}
    for species in ("Orela pumila", "Duplaria sera"):
        own = all_words(read_fasta(passport[world.assemblies[species].accession].refsketch))
        share = containment(own, all_words(world.records[species].values()))
        assert identity(share) == pytest.approx(0.999, abs=0.0015)


def test_changed_keeps_repeat_bits_and_differs_as_asked():
    codes = np.random.default_rng(0).integers(0, 4, 50_000).astype(np.uint8) | np.uint8(8)
    found = changed(np.random.default_rng(1), codes, 0.02, kappa=4.8)
    assert (found & 8 == 8).all()
    assert identity(containment(words(found, K), words(codes, K))) == pytest.approx(0.98, abs=0.004)


def test_screens_have_the_composition_of_their_kind():
    screens = make_screens(np.random.default_rng(3), genome_size_bp=400_000)
    gc = {name: float(np.isin(codes, (1, 2)).mean()) for _, name, codes in screens.by_kind()}
    assert gc["Fictobacter solani"] > 0.52 > 0.46 > gc["Fictaria vulgaris"]
    sizes = {kind: codes.size for kind, _, codes in screens.by_kind()}
    assert sizes == {"foreign": 48_000, "vector": 4_200, "organelle": 40_000}


def test_settings_are_checked():
    with pytest.raises(ValueError, match="species = 2"):
        WorldConfig(species=2)
    with pytest.raises(ValueError, match="genome_size_bp = 10000"):
        WorldConfig(genome_size_bp=10_000)
    with pytest.raises(ValueError, match="truncated"):
        WorldConfig(full_fraction=0.8, solo_fraction=0.4)
