"""The null world: Markov genomes without repeats, genes or kinship, on which every score must be at its floor.

Entropy is exact: the chain's rate by its stationary distribution (`truth/entropy.json`), and what remains of a masked
block when both sides are visible (`truth/entropy_masked.json`), for a reader of both sides may know more than the past
tells. A chain is the same on both strands, as long genomes are (Chargaff's second rule: Rudner, Karkas and Chargaff
1968, doi:10.1073/pnas.60.3.921); else the strand of a window would foretell its neighbour's. Decoy "genes" and
"orthologs" are random intervals, so that retrieval can be shown to be at chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.gff3 import write_gff3
from plantgfm.formats.manifest import write_manifest
from plantgfm.formats.tables import write_tsv
from plantgfm.identity import canonical_json
from plantgfm.schema import Assembly, Compartment, Feature
from plantgfm.sequence import Interval, reverse_complement
from plantgfm.simulate.background import draw_chain
from plantgfm.simulate.config import NullConfig
from plantgfm.simulate.folder import Progress, build_once, slug
from plantgfm.simulate.truth import ORTHOLOG_COLUMNS

VERSION = 2  # of the simulation: raise it with every change that changes its bytes
EPITHETS = ("prima", "secunda", "tertia", "quarta", "quinta", "sexta", "septima", "octava", "nona", "decima")
GENERA = ("Nulla", "Vacua", "Inania", "Desiderata", "Ficta")
MASKED_BLOCKS = (6, 8)
HELD_OUT = "Nullina ultima"


@dataclass(frozen=True)
class Chain:
    """A Markov chain over bases: P(next | context), contexts as base-4 numbers, oldest base first."""

    transition: Float64[np.ndarray, "contexts 4"]

    @property
    def order(self) -> int:
        """Number of bases that a context has."""
        return int(round(np.log(len(self.transition)) / np.log(4)))

    def stationary(self) -> Float64[np.ndarray, "contexts"]:
        """Long-run share of each context, by power iteration to 1e-13."""
        share = np.full(len(self.transition), 1 / len(self.transition))
        while True:
            following = self.advance(share)
            if np.abs(following - share).max() < 1e-13:
                return following
            share = following

    def advance(self, share: Float64[np.ndarray, "*rows contexts"]) -> Float64[np.ndarray, "*rows contexts"]:
        """Distribution over contexts one base later."""
        joint = (share[..., None] * self.transition).reshape(*share.shape[:-1], 4, -1)
        return joint.sum(axis=-2)

    def on_both_strands(self) -> Chain:
        """The chain whose k-mers are as frequent as those of this one and of its reverse complement on average."""
        joint = self.stationary()[:, None] * self.transition
        k = self.order + 1
        backwards = joint.reshape((4,) * k)[(slice(None, None, -1),) * k].transpose().reshape(joint.shape)
        both = joint + backwards
        return Chain(both / both.sum(axis=1, keepdims=True))

    def bits_per_base(self) -> float:
        """Entropy rate."""
        return float((self.stationary() * _bits(self.transition)).sum())

    def masked_bits_per_base(self, block_bp: int) -> float:
        """Entropy of a block, per base, given everything on both sides of it.

        By the chain rule over block and right context: H(block | both) = (n + k) h - H(right context | left context).
        """
        share = self.stationary()
        reached = np.eye(len(share))
        for _ in range(block_bp + self.order):
            reached = self.advance(reached)
        right_given_left = float((share * _bits(reached)).sum())
        return ((block_bp + self.order) * self.bits_per_base() - right_given_left) / block_bp


def _bits(rows: np.ndarray) -> np.ndarray:
    """Entropy in bits of each row."""
    return -(rows * np.log2(np.where(rows > 0, rows, 1))).sum(axis=-1)


def random_chain(rng: np.random.Generator, *, order: int, bits: float) -> Chain:
    """A chain of random preferences, alike on both strands, of `bits` a base within 1e-6, by bisection."""
    preference = rng.normal(size=(4**order, 4))
    low, high = 0.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        weight = np.exp(middle * preference)
        chain = Chain(weight / weight.sum(axis=1, keepdims=True)).on_both_strands()
        found = chain.bits_per_base()
        if abs(found - bits) < 1e-6:
            break
        low, high = (middle, high) if found > bits else (low, middle)
    return chain


def draw(rng: np.random.Generator, chain: Chain, length_bp: int) -> UInt8[np.ndarray, "P"]:
    """Base codes of a stretch of the chain, after a start that is long enough to forget."""
    uniform = rng.random(length_bp + 200)
    cumulative = np.cumsum(chain.transition, axis=1)[None]
    return draw_chain(uniform, cumulative, np.zeros(uniform.size, dtype=np.uint8), chain.order)[200:]


def simulate_null(config: NullConfig, out: Path, *, progress: Progress | None = None) -> Path:
    """Write the null world to `out` and return it; a folder that holds this very world is returned at once.

    Layout as the embedded world's, without passport and references; `truth/orthologs.tsv` lists decoys.

    Raises:
        ValueError: when `out` holds another world or anything else.
    """
    genera = [f"{GENERA[i // len(EPITHETS)]} {EPITHETS[i % len(EPITHETS)]}" for i in range(config.species)]

    def build(folder: Path) -> None:
        for name in ("genomes", "annotation", "truth"):
            (folder / name).mkdir()
        genomes, chains = {}, {}
        for number, species in enumerate([*genera, HELD_OUT]):
            rng = np.random.default_rng([config.seed, number])
            bits = rng.uniform(config.min_bits, config.max_bits)
            chains[species] = random_chain(rng, order=config.order, bits=bits)
            genomes[species] = _write_genome(folder, species, chains[species], config, rng)
            if progress is not None:
                progress(f"simulate: {species}", number + 1, config.species + 1)
        _write_entropy(folder, chains)
        _write_decoys(folder, genomes)
        write_manifest(folder / "manifest.csv", [_assembly(folder, species) for species in genera])
        write_manifest(folder / "held_out.csv", [_assembly(folder, HELD_OUT)])

    return build_once(Path(out), config, kind="null", version=VERSION, build=build)


@dataclass(frozen=True)
class _Null:
    """A written null genome and its decoys."""

    species: str
    records: dict[str, np.ndarray]
    decoys: list[Interval]


def _write_genome(folder: Path, species: str, chain: Chain, config: NullConfig, rng: np.random.Generator) -> _Null:
    length = config.genome_size_bp // config.records
    records = {f"chr{i + 1}": draw(rng, chain, length) for i in range(config.records)}
    write_fasta(folder / "genomes" / f"{slug(species)}.fa.gz", list(records.items()))
    names = sorted(records)
    decoys = []
    for _ in range(config.decoys):
        start = int(rng.integers(0, length - config.decoy_bp))
        strand = "+-"[int(rng.integers(2))]
        decoys.append(Interval(names[int(rng.integers(len(names)))], start, start + config.decoy_bp, strand))
    decoys.sort()
    features = [
        Feature(where, "gene", "plantgfm", attributes={"ID": (_decoy(species, i),), "Note": ("decoy",)})
        for i, where in enumerate(decoys)
    ]
    lengths = {name: codes.size for name, codes in records.items()}
    write_gff3(folder / "annotation" / f"{slug(species)}.gff3.gz", features, lengths=lengths)
    return _Null(species, records, decoys)


def _decoy(species: str, number: int) -> str:
    return f"{slug(species)}_decoy{number + 1:03d}"


def _write_entropy(folder: Path, chains: dict[str, Chain]) -> None:
    rates = {species: round(chain.bits_per_base(), 6) for species, chain in chains.items()}
    masked = {
        species: {str(block): round(chain.masked_bits_per_base(block), 6) for block in MASKED_BLOCKS}
        for species, chain in chains.items()
    }
    (folder / "truth" / "entropy.json").write_text(canonical_json(rates) + "\n")
    (folder / "truth" / "entropy_masked.json").write_text(canonical_json(masked) + "\n")


def _write_decoys(folder: Path, genomes: dict[str, _Null]) -> None:
    """Pairs of random intervals in the columns of the ortholog table; their identity is that of chance."""
    target = genomes[HELD_OUT]
    rows = []
    for null in (one for name, one in genomes.items() if name != HELD_OUT):
        for number, (one, two) in enumerate(zip(null.decoys, target.decoys)):
            same = float((_cut(null, one) == _cut(target, two)).mean())
            values = (
                _decoy(null.species, number), null.species, one.sequence, one.start, one.end, one.strand,
                target.species, two.sequence, two.start, two.end, two.strand, f"{same:.4f}",
            )  # fmt: skip
            rows.append(dict(zip(ORTHOLOG_COLUMNS, values)))
    write_tsv(folder / "truth" / "orthologs.tsv", rows, columns=ORTHOLOG_COLUMNS)


def _cut(null: _Null, where: Interval) -> np.ndarray:
    codes = null.records[where.sequence][where.start : where.end]
    return reverse_complement(codes) if where.strand == "-" else codes


def _assembly(folder: Path, species: str) -> Assembly:
    return Assembly(
        species=species,
        cultivar="",
        assembly=f"{species} null",
        compartment=Compartment.NUCLEAR,
        fasta=folder / "genomes" / f"{slug(species)}.fa.gz",
        annotation=folder / "annotation" / f"{slug(species)}.gff3.gz",
        source="simulated by plantgfm",
        licence="Apache-2.0",
    )
