"""What the truth says is what the sequence holds, checked from the written files alone."""

from collections import defaultdict

import numpy as np
import pytest

from plantgfm.sequence import decode, mask_of
from plantgfm.simulate.codons import AMINO
from plantgfm.simulate.species import divergence, lineage_of, shares_duplication
from tests.simulate.conftest import Files

STOPS = {"TAA", "TAG", "TGA"}


def transcripts(world: Files, species: str) -> dict[str, dict[str, list]]:
    """Features of each transcript by type, in order of position."""
    out: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for feature in world.features(species):
        if feature.type not in ("gene", "mRNA"):
            out[feature.attributes["Parent"][0]][feature.type].append(feature)
    return out


def spliced(world: Files, species: str, features: list) -> str:
    ordered = features if features[0].interval.strand == "+" else features[::-1]
    parts = [
        world.cut(species, f.interval.sequence, f.interval.start, f.interval.end, f.interval.strand) for f in ordered
    ]
    return decode(np.concatenate(parts))


def protein(text: str) -> str:
    numbers = [["ACGT".index(base) for base in text[i : i + 3]] for i in range(0, len(text), 3)]
    return "".join(AMINO[16 * a + 4 * b + c] for a, b, c in numbers)


def test_every_coding_sequence_is_open_from_start_to_stop(world):
    seen = 0
    for species in world.assemblies:
        for parts in transcripts(world, species).values():
            text = spliced(world, species, parts["CDS"])
            assert len(text) % 3 == 0
            assert text[:3] == "ATG"
            translated = protein(text)
            assert translated[-1] == "*"
            assert "*" not in translated[:-1]
            seen += 1
    assert seen > 60


def test_phases_continue_the_reading_frame(world):
    for parts in transcripts(world, "Somnia rubra").values():
        exons = parts["CDS"] if parts["CDS"][0].interval.strand == "+" else parts["CDS"][::-1]
        done = 0
        for exon in exons:
            assert exon.phase == -done % 3
            done += exon.interval.length_bp


def test_introns_open_with_gt_and_end_with_ag(world):
    introns = 0
    for species in world.assemblies:
        for parts in transcripts(world, species).values():
            exons = parts["exon"]
            for left, right in zip(exons[:-1], exons[1:]):
                where = left.interval
                text = decode(world.cut(species, where.sequence, where.end, right.interval.start, where.strand))
                assert text.startswith("GT")
                assert text.endswith("AG")
                introns += 1
    assert introns > 100


def test_introns_are_rich_in_t(world):
    text = ""
    for parts in transcripts(world, "Fictara montana").values():
        for left, right in zip(parts["exon"][:-1], parts["exon"][1:]):
            where = left.interval
            text += decode(world.cut("Fictara montana", where.sequence, where.end, right.interval.start, where.strand))
    assert text.count("T") > 1.15 * text.count("A")


def test_exons_are_tiled_by_coding_and_untranslated_parts(world):
    for species in ("Duplaria sera", "Gramena alba"):
        for parts in transcripts(world, species).values():
            names = ("five_prime_UTR", "CDS", "three_prime_UTR")
            pieces = sorted(f.interval for name in names for f in parts[name])
            assert sum(p.length_bp for p in pieces) == sum(f.interval.length_bp for f in parts["exon"])
            assert all(a.end <= b.start for a, b in zip(pieces[:-1], pieces[1:]))
            assert parts["five_prime_UTR"]
            assert parts["three_prime_UTR"]


def test_genes_do_not_overlap_and_ids_are_unique(world):
    for species in world.assemblies:
        features = world.features(species)
        ids = [f.attributes["ID"][0] for f in features]
        assert len(ids) == len(set(ids))
        genes = sorted(f.interval for f in features if f.type == "gene")
        assert all(a.end <= b.start for a, b in zip(genes[:-1], genes[1:]) if a.sequence == b.sequence)


def test_soft_mask_is_the_repeat_truth(world):
    for species, records in world.records.items():
        truth = defaultdict(list)
        for feature in world.features(species, place="truth/repeats"):
            truth[feature.interval.sequence].append((feature.interval.start, feature.interval.end))
        for name, record in records.items():
            if name.startswith(("chr", "scaffold")):
                said = mask_of(np.array(truth[name]), record.length_bp)
                assert np.array_equal(mask_of(record.soft_mask, record.length_bp), said)


def test_repeats_are_a_third_to_four_fifths_and_differ_by_species(world):
    shares = {}
    for species, records in world.records.items():
        sound = [r for name, r in records.items() if name.startswith(("chr", "scaffold"))]
        masked = sum(int((r.soft_mask[:, 1] - r.soft_mask[:, 0]).sum()) for r in sound)
        shares[species] = masked / sum(r.length_bp for r in sound)
        assert abs(shares[species] - lineage_of(species)[-1].repeat_share) < 0.06
    assert 0.3 <= min(shares.values()) < 0.45
    assert 0.7 < max(shares.values()) <= 0.8


def test_gc_differs_by_species(world):
    gc = {
        species: float(np.mean(np.isin(np.concatenate([r.codes for r in records.values()]), (1, 2))))
        for species, records in world.records.items()
    }
    assert gc["Gramena alba"] - gc["Fictara montana"] > 0.05
    assert 0.3 < min(gc.values()) < max(gc.values()) < 0.55


def test_codon_usage_differs_by_lineage(world):
    def gc3(species: str) -> float:
        texts = [spliced(world, species, parts["CDS"]) for parts in transcripts(world, species).values()]
        third = "".join(text[2::3] for text in texts)
        return (third.count("G") + third.count("C")) / len(third)

    assert gc3("Gramena alba") - gc3("Fictara montana") > 0.05


def test_repeat_orders_and_nested_insertions(world):
    orders, split = set(), 0
    for species in world.assemblies:
        features = world.features(species, place="truth/repeats")
        orders |= {f.attributes["order"][0] for f in features}
        elements = [f.attributes["element"][0] for f in features]
        split += len(elements) - len(set(elements))
    assert orders >= {"Gypsy", "Copia", "MITE", "Satellite", "Microsatellite", "Minisatellite", "Telomere"}
    assert orders & {"hAT", "CACTA"}
    assert split > 20


def test_families_are_shared_among_relatives(world):
    def names(species: str) -> set[str]:
        return {f.attributes["Name"][0] for f in world.features(species, place="truth/repeats")}

    near, far = names("Gramena alba"), names("Fictara montana")
    assert any(name.startswith("Monocalis_") for name in near & names("Gramena dura"))
    assert not any(name.startswith("Monocalis_") for name in far)
    assert any(name.startswith("Root_") for name in near & far)


def test_ages_lie_between_the_present_and_the_root(world):
    ages = [float(f.attributes["age"][0]) for f in world.features("Basalea prima", place="truth/repeats")]
    assert 0 < min(ages) <= 0.001
    assert 0.2 < max(ages) <= 0.31


def test_motifs_lie_where_they_should(world):
    seen = {"TATA_box": 0, "AuxRE": 0}
    for species in world.assemblies:
        genes = {f.attributes["ID"][0]: f for f in world.features(species) if f.type == "gene"}
        for motif in world.features(species, place="truth/motifs"):
            name, where = motif.attributes["Name"][0], motif.interval
            gene = genes[motif.attributes["gene"][0]]
            if name == "polyA_signal_sequence":
                continue
            seen[name] += 1
            ahead = gene.interval.start - where.end if where.strand == "+" else where.start - gene.interval.end
            if name == "TATA_box":
                assert 15 <= ahead <= 60
            else:
                assert gene.attributes["Note"] == ("auxin response",)
                assert ahead < 1500
    assert min(seen.values()) >= 5


def test_auxin_response_elements_hold_their_core(world):
    kept = total = 0
    for species in world.assemblies:
        for motif in world.features(species, place="truth/motifs"):
            if motif.attributes["Name"] == ("AuxRE",) and motif.interval.length_bp == 11:
                where = motif.interval
                text = decode(world.cut(species, where.sequence, where.start, where.end, where.strand))
                kept, total = kept + ("TGTCTC" in text), total + 1
    assert total > 10
    assert kept > 0.7 * total


def aligned_identity(one: np.ndarray, two: np.ndarray) -> float:
    """Share of equal bases among the paired ones of a global alignment (unit costs), found by traceback."""
    steps = np.arange(two.size + 1, dtype=np.int32)
    rows = [steps.copy()]
    for i, base in enumerate(one, 1):
        best = np.minimum(rows[-1][1:] + 1, rows[-1][:-1] + (two != base))
        rows.append(np.minimum.accumulate(np.concatenate(([i], best)) - steps) + steps)
    i, j, equal, paired = one.size, two.size, 0, 0
    while i and j:
        same = one[i - 1] == two[j - 1]
        if rows[i][j] == rows[i - 1][j - 1] + (not same):
            i, j, equal, paired = i - 1, j - 1, equal + bool(same), paired + 1
        elif rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return equal / paired


def ortholog_cuts(world: Files, row: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    query = (
        row["query_species"],
        row["query_chr"],
        int(row["query_start"]),
        int(row["query_end"]),
        row["query_strand"],
    )
    target = (row["species"], row["chr"], int(row["start"]), int(row["end"]), row["strand"])
    return world.cut(*query), world.cut(*target)


def repeat_bp(world: Files, row: dict[str, str]) -> int:
    """Soft-masked bases of query and target together."""
    total = 0
    for species, name, start, end in (
        (row["query_species"], row["query_chr"], int(row["query_start"]), int(row["query_end"])),
        (row["species"], row["chr"], int(row["start"]), int(row["end"])),
    ):
        record = world.records[species][name]
        total += int(mask_of(record.soft_mask, record.length_bp)[start:end].sum())
    return total


@pytest.mark.parametrize("species", ["Duplaria mira", "Somnia rubra", "Gramena alba"])
def test_orthologs_are_as_similar_as_stated(world, species):
    rows = [row for row in world.table("orthologs.tsv") if row["query_species"] == species]
    checked = 0
    for row in rows:
        one, two = ortholog_cuts(world, row)
        if repeat_bp(world, row) > 0 or abs(one.size - two.size) > 0.08 * one.size:
            continue  # a repeat in an intron is no homologous site
        assert aligned_identity(one, two) == pytest.approx(float(row["identity"]), abs=0.04)
        checked += 1
        if checked == 4:
            break
    assert checked >= 2


def test_genes_that_are_no_orthologs_are_not_alike(world):
    rows = [row for row in world.table("orthologs.tsv") if row["query_species"] == "Duplaria mira"]
    one, two = ortholog_cuts(world, rows[0])[0][:900], ortholog_cuts(world, rows[3])[1][:900]
    assert aligned_identity(one, two) < float(rows[0]["identity"]) - 0.1


def test_identity_falls_with_divergence(world):
    identity = defaultdict(list)
    for row in world.table("orthologs.tsv"):
        identity[row["query_species"]].append(float(row["identity"]))
    assert np.mean(identity["Duplaria mira"]) > 0.90
    for species, values in identity.items():
        assert 1 - 0.5 * divergence(species, "Duplaria sera") < np.mean(values)
        assert np.mean(values) < 1 - 0.25 * divergence(species, "Duplaria sera")


def test_ortholog_rows_name_genes_of_both_annotations(world):
    spans = {
        (species, f.attributes["ID"][0]): f.interval
        for species in world.assemblies
        for f in world.features(species)
        if f.type == "gene"
    }
    targets = {(i.sequence, i.start, i.end, i.strand) for (s, _), i in spans.items() if s == "Duplaria sera"}
    for row in world.table("orthologs.tsv"):
        query = spans[row["query_species"], row["gene_id"]]
        assert (query.sequence, query.start, query.end) == (
            row["query_chr"],
            int(row["query_start"]),
            int(row["query_end"]),
        )
        assert (row["chr"], int(row["start"]), int(row["end"]), row["strand"]) in targets


def test_the_duplication_makes_two_orthologs_of_some_genes(world):
    counts = defaultdict(lambda: defaultdict(int))
    for row in world.table("orthologs.tsv"):
        counts[row["query_species"]][row["gene_id"]] += 1
    assert shares_duplication("Duplaria mira", "Duplaria sera")
    assert set(counts["Duplaria mira"].values()) == {1}
    assert set(counts["Basalea prima"].values()) == {1, 2}
    genes = {s: sum(f.type == "gene" for f in world.features(s)) for s in ("Duplaria sera", "Basalea prima")}
    assert genes["Duplaria sera"] > 1.3 * genes["Basalea prima"]


def test_gene_order_is_rearranged(world):
    def order(species: str) -> list[tuple[str, str]]:
        genes = [f for f in world.features(species) if f.type == "gene"]
        return [(f.attributes["ID"][0][4:], f.interval.strand) for f in genes]

    assert order("Basalea prima") != order("Fictara montana")
