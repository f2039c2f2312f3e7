"""The embedded world: a plant clade, the truth beside it, and planted defects, as one folder of ordinary files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.manifest import write_manifest
from plantgfm.formats.passport import PassportRecord, write_passport
from plantgfm.formats.tables import write_tsv
from plantgfm.schema import Assembly, Compartment
from plantgfm.sequence import BASE_MASK, reverse_complement
from plantgfm.simulate.clade import grow_clade, stream
from plantgfm.simulate.config import WorldConfig
from plantgfm.simulate.defects import DEFECT_COLUMNS, Defect, Draft, Planting, Records, changed, plant
from plantgfm.simulate.folder import Progress, build_once, slug
from plantgfm.simulate.screens import make_screens
from plantgfm.simulate.species import CLADE, divergence, lineage_of, species_of
from plantgfm.simulate.truth import ORTHOLOG_COLUMNS, Genome, annotation, finish, motifs, orthologs, repeats

VERSION = 2  # of the simulation: raise it with every change that changes its bytes
INSTITUTE = "XPG001"  # in the form of a FAO WIEWS code
SOURCE = "simulated by plantgfm"
LICENCE = "Apache-2.0"
SAMPLE_BP = (4_000, 12_000)  # pieces of an accession's reference
CULTIVARS = (
    "Aurora", "Borea", "Cirra", "Delfa", "Elva", "Foresta", "Glorin", "Helia", "Isola", "Juno", "Kyra", "Lumen",
    "Mistral",
)  # fmt: skip
COUNTRIES = (
    ("TUR", 38.4), ("ETH", 9.1), ("MEX", 19.6), ("CHN", 31.2), ("PER", -11.9), ("ESP", 39.5), ("IND", 22.8),
    ("SYR", 35.1), ("GEO", 42.0), ("BRA", -14.2), ("KEN", -0.4), ("ITA", 42.7), ("NPL", 28.2),
)  # fmt: skip


@dataclass(frozen=True)
class _Grown:
    """Everything that is to be written."""

    genomes: dict[str, Genome]  # by species
    planting: Planting
    held_out: Draft


def simulate_world(config: WorldConfig, out: Path, *, progress: Progress | None = None) -> Path:
    """Write the embedded world to `out` and return it; a folder that holds this very world is returned at once.

    Layout: manifest.csv (defects among it), held_out.csv, passport.tsv, genomes/, annotation/, references/, truth/ with
    orthologs.tsv, defects.tsv, tree.tsv, repeats/ and motifs/, and world.json with settings and fingerprint.

    Args:
        config: what shapes the world; equal settings give equal bytes.
        out: a folder that is absent, empty, or holds this world.
        progress: called with (label, done, total).

    Raises:
        ValueError: when `out` holds another world or anything else, or the held-out species is unknown.
    """
    species = [node.name for node in species_of(config.species, held_out=config.held_out)]

    def build(folder: Path) -> None:
        grown = _grow(config, species, folder, progress)
        _write_tables(config, folder, grown)
        _report(progress, "simulate: tables", len(species) + 1, len(species) + 1)

    return build_once(Path(out), config, kind="world", version=VERSION, build=build)


def _report(progress: Progress | None, label: str, done: int, total: int) -> None:
    if progress is not None:
        progress(label, done, total)


def _grow(config: WorldConfig, species: list[str], folder: Path, progress: Progress | None) -> _Grown:
    """Grow every species, write its truth, and plant the defects."""
    genomes, drafts = {}, {}
    for node, lineage, clade in grow_clade(config, kept=set(species)):
        _report(progress, f"simulate: {node.name}", len(genomes) + 1, len(species) + 1)
        genome = finish(lineage.genome, node.name, stream(config, f"gaps of {node.name}"))
        lengths = {name: end - start for name, (start, end) in zip(genome.names, genome.bounds)}
        stem = f"{slug(node.name)}.gff3.gz"
        for place, features in (
            ("annotation", annotation(genome, clade.auxin)),
            ("truth/repeats", repeats(genome, clade.registry, depth=lineage.depth)),
            ("truth/motifs", motifs(genome)),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            write_gff3(folder / place / stem, features, lengths=lengths)
        genomes[node.name] = genome
        drafts[node.name] = _draft(genome, number=len(drafts))
    held_out = drafts.pop(config.held_out)
    rng = stream(config, "defects")
    screens = make_screens(stream(config, "screens"), genome_size_bp=config.genome_size_bp)
    _write_screens(folder, screens.by_kind())
    planting = plant(list(drafts.values()), screens=screens, config=config, rng=rng)
    return _Grown(genomes, planting, held_out)


def _draft(genome: Genome, *, number: int) -> Draft:
    records = [(f"{name} length={codes.size}", codes) for name, codes in genome.records()]
    size = sum(codes.size for _, codes in records)
    return Draft(
        species=genome.species,
        cultivar=CULTIVARS[number % len(CULTIVARS)],
        name=f"{genome.code_name} v1",
        file=slug(genome.species),
        records=records,
        accession=f"PGX {number + 1:04d}",
        expected_size_bp=None if number % 4 == 3 else int(round(size, -4)),
        annotated=True,
    )


def _assembly(folder: Path, draft: Draft) -> Assembly:
    return Assembly(
        species=draft.species,
        cultivar=draft.cultivar,
        assembly=draft.name,
        compartment=Compartment.NUCLEAR,
        fasta=folder / "genomes" / f"{draft.file}.fa.gz",
        annotation=folder / "annotation" / f"{draft.file}.gff3.gz" if draft.annotated else None,
        ploidy=2,
        expected_size_bp=draft.expected_size_bp,
        accession=draft.accession,
        source=SOURCE,
        licence=LICENCE,
    )


def _write_tables(config: WorldConfig, folder: Path, grown: _Grown) -> None:
    (folder / "genomes").mkdir()
    drafts = [*grown.planting.drafts, *grown.planting.extra]
    for draft in (*drafts, grown.held_out):
        write_fasta(folder / "genomes" / f"{draft.file}.fa.gz", draft.records)
    write_manifest(folder / "manifest.csv", [_assembly(folder, draft) for draft in drafts])
    write_manifest(folder / "held_out.csv", [_assembly(folder, grown.held_out)])
    write_passport(folder / "passport.tsv", list(_passport(config, folder, grown)))
    queries = [genome for name, genome in grown.genomes.items() if name != config.held_out]
    rows = orthologs(queries, grown.genomes[config.held_out])
    write_tsv(folder / "truth" / "orthologs.tsv", rows, columns=ORTHOLOG_COLUMNS)
    rows = [_defect_row(folder, defect) for defect in grown.planting.defects]
    write_tsv(folder / "truth" / "defects.tsv", rows, columns=DEFECT_COLUMNS)
    _write_tree(config, folder, list(grown.genomes))


def _defect_row(folder: Path, defect: Defect) -> dict[str, str]:
    values = (_assembly(folder, defect.draft).key, defect.record, defect.kind, defect.stage, defect.reason)
    return dict(zip(DEFECT_COLUMNS, values))


def _write_tree(config: WorldConfig, folder: Path, species: list[str]) -> None:
    """The branches of the tree, and the divergence of each species from the held-out one."""
    present = {node.name for name in species for node in lineage_of(name)}
    columns = ("node", "parent", "branch", "duplication", "divergence_from_held_out")
    rows = []
    for node in (one for one in CLADE if one.name in present):
        far = f"{divergence(node.name, config.held_out):.2f}" if node.is_species else ""
        values = (node.name, node.parent or "Root", node.branch, "yes" if node.duplicates else "", far)
        rows.append(dict(zip(columns, values)))
    write_tsv(folder / "truth" / "tree.tsv", rows, columns=columns)


def _write_screens(folder: Path, screens: list[tuple[str, str, np.ndarray]]) -> None:
    (folder / "references").mkdir()
    rows = []
    for kind, name, codes in screens:
        path = f"{kind}_{re.sub(r'[^A-Za-z0-9]+', '_', name).lower()}.fa.gz"
        write_fasta(folder / "references" / path, [(f"{path.split('.')[0]} {name}", codes)])
        rows.append({"name": name, "kind": kind, "path": path})
    write_tsv(folder / "references" / "references.tsv", rows, columns=("name", "kind", "path"))


def _passport(config: WorldConfig, folder: Path, grown: _Grown) -> Iterator[PassportRecord]:
    """One accession for each sound assembly, and those that only the passport knows."""
    (folder / "references" / "accessions").mkdir()
    drafts = sorted([*grown.planting.drafts, grown.held_out], key=lambda draft: draft.accession)
    known = [(draft.cultivar, draft.species, grown.genomes[draft.species].records()) for draft in drafts]
    swapped = {
        defect.draft.cultivar: defect.draft.species for defect in grown.planting.defects if defect.stage == "label"
    }
    known += [
        (name, swapped[name.removesuffix(" Bis")], records) for name, records in grown.planting.references.items()
    ]
    for number, (cultivar, species, records) in enumerate(known, 1):
        rng = stream(config, f"reference of {cultivar}")
        path = folder / "references" / "accessions" / f"PGX_{number:04d}.fa.gz"
        write_fasta(path, _sample(rng, records, config))
        country, latitude = COUNTRIES[number % len(COUNTRIES)]
        yield PassportRecord(
            accenumb=f"PGX {number:04d}",
            instcode=INSTITUTE,
            genus=species.split()[0],
            species=species.split()[1],
            accename=cultivar,
            origcty=country,
            declatitude=round(latitude + float(rng.normal(0, 0.8)), 3),
            declongitude=round(float(rng.uniform(-120, 120)), 3),
            elevation=float(rng.integers(20, 2400)),
            refsketch=path,
        )


def _sample(rng: np.random.Generator, records: Records, config: WorldConfig) -> Records:
    """Pieces of an accession's genome sequenced again: either strand, with the stated share of differences."""
    lengths = np.array([codes.size for _, codes in records])
    goal = min(config.reference_bp, int(lengths.sum()) // 2)
    pieces, total = [], 0
    while total < goal:
        codes = records[int(rng.choice(lengths.size, p=lengths / lengths.sum()))][1] & BASE_MASK
        length = min(int(rng.integers(*SAMPLE_BP)), codes.size)
        start = int(rng.integers(0, codes.size - length + 1))
        piece = changed(rng, codes[start : start + length], config.reference_error, kappa=config.kappa)
        pieces.append((f"read_{len(pieces) + 1:03d}", reverse_complement(piece) if rng.random() < 0.5 else piece))
        total += piece.size
    return pieces


def world_settings(out: Path) -> dict[str, object]:
    """The contents of a world's `world.json`: kind, version, config, fingerprint."""
    return json.loads((Path(out) / "world.json").read_text())
