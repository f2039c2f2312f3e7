"""Settings of the embedded world and of the null world, each value with where it comes from.

Sizes are scaled: a genome has about a megabase instead of a gigabase, so counts scale with `genome_size_bp` while
lengths of genes and elements, rates and shares are those of real plants. Numbers to expect with the defaults: 13
species, repeats 35 to 76 %, GC 37 to 45 %, pairwise neutral divergence 0.06 to 0.59 substitutions a site, about 100
genes a species and 156 after the duplication; 12 s of one core's time. A lost gene is deleted whole:
pseudogenes are not modelled, every annotated gene is open.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_SPECIES = 3
MAX_SPECIES = 13
MIN_GENOME_BP = 60_000


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative; give 0 or more")


@dataclass
class WorldConfig:
    """What shapes the embedded world: the same settings give the same bytes."""

    seed: int = 7
    species: int = 13  # of the clade in `species.py`, the held-out one among them
    genome_size_bp: int = 1_000_000  # mean over species; each has a factor of its own, 0.75 to 1.4
    held_out: str = (
        "Duplaria sera"  # kept out of pre-training; sister of a training species at 0.12 substitutions a site
    )

    # Neutral substitution. Transitions outnumber transversions 2.4 to 1 in A. thaliana accumulation lines (Ossowski et
    # al. 2010, doi:10.1126/science.1180677); with one transition for two transversions that is kappa of about 5.
    kappa: float = 4.8
    cpg_factor: float = 3.0  # methylated C in repeats decays faster (Ossowski et al. 2010: C:G to T:A excess)
    # Ka/Ks between A. thaliana and A. lyrata, median 0.16 to 0.2 (Yang & Gaut 2011, doi:10.1093/molbev/msr058)
    omega: float = 0.17
    # Indels a substitution: 1.30e-9 / 6.95e-9 a site and generation, deletions more frequent and longer (Weng et al.
    # 2019, doi:10.1534/genetics.118.301721)
    indel_rate: float = 0.19
    deletion_share: float = 0.6
    mean_insertion_bp: float = 3.0
    mean_deletion_bp: float = 5.0

    # Gene structure of A. thaliana: 5' UTR 140, 3' UTR 228, intron 164 bp (Lichtenberg et al. 2009,
    # doi:10.1186/1471-2164-10-463, table 1), CDS median 1,086 bp (Bernard et al. 2010, PMC2842252, table 2), 5.8 exons
    # (Deutsch & Long 1999, doi:10.1093/nar/27.15.3219).
    median_protein_aa: int = 340
    mean_introns: float = 4.0
    mean_intron_bp: int = 164
    mean_utr5_bp: int = 140
    mean_utr3_bp: int = 228
    promoter_bp: int = 450
    gene_space_fraction: float = 0.27  # of genome_size_bp, before duplication
    # TATA box in 29 % of promoters at 32 +- 7 bp before the start (Molina & Grotewold 2005, doi:10.1186/1471-2164-6-25;
    # Joshi 1987, doi:10.1093/nar/15.16.6643); Y patch in half (Civan & Svec 2009, doi:10.1139/G09-001).
    tata_fraction: float = 0.29
    y_patch_fraction: float = 0.5
    auxin_fraction: float = 0.12  # genes of the auxin-response family: AuxRE TGTCTC (Ulmasov 1995, PMC161020)
    # canonical AATAAA in about 10 % of genes, one-base variants in most others (Loke et al. 2005,
    # doi:10.1104/pp.105.060541)
    canonical_polya_fraction: float = 0.1

    # Rearrangements, events for each substitution a site on a branch, of this small genome.
    inversion_rate: float = 20.0
    translocation_rate: float = 12.0
    gene_loss_rate: float = 0.3  # share of genes lost for each substitution a site
    # About a third of duplicates are lost again (Schnable et al. 2011, doi:10.1073/pnas.1101368108, maize: 20 to 43 %)
    fractionation: float = 0.35

    # Insertion age is near exponential, most elements under 4 My (Ma & Bennetzen 2004, doi:10.1073/pnas.0403715101; at
    # 1.3e-8 a site and year); mean age in substitutions a site on one lineage.
    mean_insertion_age: float = 0.02
    old_repeat_fraction: float = 0.04  # of genome_size_bp, inserted on each inner branch
    # Full, solo LTR, truncated: of the order of one solo LTR for each full element (Ma et al. 2004,
    # doi:10.1101/gr.1466204)
    full_fraction: float = 0.5
    solo_fraction: float = 0.3
    satellite_fraction: float = (
        0.12  # of the repeats; monomers of 155 to 180 bp (Melters 2013, doi:10.1186/gb-2013-14-1-r10)
    )
    # Kawabe & Nasuda 2005 (doi:10.1007/s00438-004-1081-x): about 10 % between monomers of a family over a genome
    satellite_divergence: float = 0.05
    microsatellites_per_mb: float = 120.0  # tracts of 15 bp and more (Morgante et al. 2002, doi:10.1038/ng822)
    minisatellites_per_mb: float = 12.0
    telomere_bp: int = 350  # TTTAGGG (Richards & Ausubel 1988, doi:10.1016/0092-8674(88)90494-1), shortened

    # Accessions and planted defects, as differences a site.
    reference_error: float = 0.001
    reference_bp: int = 150_000
    near_duplicate_difference: float = 0.002
    near_miss_difference: float = 0.05
    cultivar_difference: float = 0.02
    strain_difference: float = 0.04

    def __post_init__(self):
        _check_seed(self.seed)
        if not MIN_SPECIES <= self.species <= MAX_SPECIES:
            raise ValueError(f"species = {self.species} must lie between {MIN_SPECIES} and {MAX_SPECIES}")
        if self.genome_size_bp < MIN_GENOME_BP:
            raise ValueError(
                f"genome_size_bp = {self.genome_size_bp} must be at least {MIN_GENOME_BP}: a gene needs room"
            )
        if not 0 <= self.full_fraction + self.solo_fraction <= 1:
            raise ValueError("full_fraction + solo_fraction must lie between 0 and 1; what remains is truncated")


@dataclass
class NullConfig:
    """What shapes the null world: Markov chains without repeats, genes or kinship."""

    seed: int = 7
    species: int = 10  # one more than these is held out
    genome_size_bp: int = 500_000
    order: int = 3
    min_bits: float = 1.90  # entropy rates of the species are drawn between these
    max_bits: float = 1.95
    records: int = 4
    decoys: int = 24  # random intervals of each species that stand for genes, so that retrieval has something to miss
    decoy_bp: int = 2_500

    def __post_init__(self):
        _check_seed(self.seed)
        if not 1 <= self.species <= 40:
            raise ValueError(f"species = {self.species} must lie between 1 and 40")
        if not 1 <= self.order <= 6:
            raise ValueError(f"order = {self.order} must lie between 1 and 6")
        if not 1.5 <= self.min_bits <= self.max_bits < 2:
            raise ValueError(
                f"min_bits = {self.min_bits} and max_bits = {self.max_bits} must lie in 1.5 to 2, in order"
            )
        if self.genome_size_bp < self.records * 4 * self.decoy_bp:
            raise ValueError(
                f"genome_size_bp = {self.genome_size_bp} is too small for {self.records} records with decoys"
            )
