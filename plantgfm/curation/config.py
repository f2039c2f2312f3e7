"""Settings of curation, one dataclass a stage; thresholds are stated as what a biologist would measure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

STAGES = ("completeness", "contamination", "assembly_score", "duplicates", "label")
"""The five stages, in order."""

_SCREENED = ("foreign_intervals", "vector_intervals", "organelle_insertions", "rdna_insertions", "chimeras")


class IntervalAction(Enum):
    """What is done with an interval that a screen found something in."""

    FLAG = "flag"  # the record is kept as it is
    MASK = "mask"  # its bases become unknown
    CUT = "cut"  # it is taken out, and the record goes on in pieces
    DROP = "drop"  # the whole record is rejected


def _fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} = {value} must lie between 0 and 1")


@dataclass
class CompletenessConfig:
    """When a record is too short, too empty or cut off, and when an assembly misses too much of its genome."""

    min_record_bp: int = 1_000
    max_unknown_fraction: float = 0.5  # of a record
    truncation_fraction: float = 0.05  # a source that states a record this much longer is one sign of truncation
    min_size_fraction: float = 0.5  # of the expected genome size, where one is stated
    max_size_ratio: float = 1.8  # above: flagged (uncollapsed haplotypes, or a wrong expectation)
    min_gene_fraction: float = 0.5  # of marker genes complete, where BUSCO, compleasm or genes to look for are given
    min_marker_containment: float = 0.5  # of the k-mers of such a gene, for it to be complete: identity of about 97 %

    def __post_init__(self):
        _fraction("max_unknown_fraction", self.max_unknown_fraction)
        _fraction("min_size_fraction", self.min_size_fraction)
        _fraction("min_gene_fraction", self.min_gene_fraction)
        for name in ("min_record_bp", "truncation_fraction"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} can't be negative")
        if not 0 < self.min_marker_containment <= 1:
            raise ValueError(f"min_marker_containment = {self.min_marker_containment} must lie above 0, at most at 1")


@dataclass
class ContaminationConfig:
    """How records are screened against vectors, foreign organisms and organelles."""

    k: int = 21
    scaled: int = 50  # one k-mer hash of this many is compared
    min_shared_hashes: int = 3  # distinct, in one interval
    max_gap_bp: int = 2_000  # between shared hashes of one interval
    max_foreign_fraction: float = 0.25  # of a record: above, it is rejected; below, as the next line says
    foreign_intervals: IntervalAction = IntervalAction.MASK  # or CUT, or DROP: reject the record for any
    max_vector_fraction: float = 0.25
    vector_intervals: IntervalAction = IntervalAction.MASK  # or CUT, DROP
    min_organelle_fraction: float = 0.5  # of a record labelled nuclear; below, an insertion
    organelle_insertions: IntervalAction = IntervalAction.FLAG  # natural in nuclear records; or CUT, DROP
    rdna_insertions: IntervalAction = IntervalAction.FLAG  # natural as well; or CUT, DROP
    chimeras: IntervalAction = IntervalAction.FLAG  # parts of another species or kingdom; or CUT, DROP
    min_chimera_bp: int = 10_000  # shorter parts are no chimera: repeats travel
    min_chimera_fraction: float = 0.25  # of a nuclear record that is like an organelle: more than insertions are
    shipped_sketches: bool = True  # of plastids, in data/: references beside those that are named
    min_expected_shared: float = 10.0  # hashes that peers of a record's size share, for it to be judged by theirs
    max_peer_fraction: float = 0.005  # of what peers share: up to it, and up to chance, counts as sharing none
    min_insertion_bp: int = 200  # a shorter interval like an organelle or rDNA is told of nowhere
    min_piece_bp: int = 1_000  # a shorter piece that cuts leave is cut out, too
    vector_seed_k: int = 15
    min_vector_score: int = 30  # inside a record: strong in NCBI's VecScreen, done with as vector_intervals says
    min_terminal_vector_score: int = 24  # at its ends
    moderate_vector_scores: list[int] = field(default_factory=lambda: [25, 19])  # inside, at an end: flagged
    weak_vector_scores: list[int] = field(default_factory=lambda: [23, 16])  # told of beside the ledger alone
    vector_end_bp: int = 25  # a match that begins or ends this near to an end of its record is terminal
    suspect_bp: int = 50  # less than this between strong matches, or between one and an end, goes with them
    organelle_references: list[str] = field(default_factory=list)  # FASTA files beside those of references.tsv
    plant_lineage: list[int] = field(default_factory=lambda: [1, 131567, 2759, 33090])  # NCBI: root to green plants

    def __post_init__(self):
        if self.k % 2 == 0 or self.vector_seed_k > 31:
            raise ValueError(f"k = {self.k} must be odd and vector_seed_k = {self.vector_seed_k} at most 31")
        for name in ("max_foreign_fraction", "max_vector_fraction", "min_organelle_fraction", "max_peer_fraction"):
            _fraction(name, getattr(self, name))
        _fraction("min_chimera_fraction", self.min_chimera_fraction)
        if self.min_expected_shared < 5:
            raise ValueError(f"min_expected_shared = {self.min_expected_shared} must be at least 5: less is chance")
        for name in ("organelle_insertions", "rdna_insertions", "chimeras"):
            if getattr(self, name) is IntervalAction.MASK:
                raise ValueError(f"{name} = MASK is not done: choose FLAG, CUT or DROP")
        for name in ("min_insertion_bp", "min_chimera_bp"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} can't be negative")
        if self.min_piece_bp < self.k:
            raise ValueError(f"min_piece_bp = {self.min_piece_bp} must be at least k = {self.k}")
        self._check_vector_scores()
        if not self.plant_lineage:
            raise ValueError("plant_lineage = [] must end with the taxon of plants, 33090 in NCBI's taxonomy")

    def _check_vector_scores(self):
        strong = self.min_vector_score, self.min_terminal_vector_score
        if len(self.moderate_vector_scores) != 2 or len(self.weak_vector_scores) != 2:
            raise ValueError("moderate_vector_scores and weak_vector_scores are two numbers each: inside, at an end")
        for where, *bars in zip(("inside", "at an end"), strong, self.moderate_vector_scores, self.weak_vector_scores):
            if bars != sorted(bars, reverse=True) or bars[-1] < self.vector_seed_k:
                text = f"strong, moderate and weak vector scores {where} are {bars}: they must fall"
                raise ValueError(f"{text}, to vector_seed_k = {self.vector_seed_k} at least")
        if min(self.vector_end_bp, self.suspect_bp) < 0:
            raise ValueError(f"vector_end_bp = {self.vector_end_bp}, suspect_bp = {self.suspect_bp}: none is negative")


@dataclass
class AssemblyScoreConfig:
    """What makes an assembly too fragmented or too empty to learn from; asked only where its size is expected."""

    min_ng50_bp: int = 20_000  # below, half of the genome lies in contigs shorter than a training region
    max_unknown_fraction: float = 0.4
    min_score: float = 0.1
    no_contiguity_ng50_bp: int = 1_000  # contiguity counts 0 in the score up to this NG50
    full_contiguity_ng50_bp: int = 1_000_000  # and 1 from this one on

    def __post_init__(self):
        _fraction("max_unknown_fraction", self.max_unknown_fraction)
        _fraction("min_score", self.min_score)
        if not 0 < self.no_contiguity_ng50_bp < self.full_contiguity_ng50_bp:
            low, high = self.no_contiguity_ng50_bp, self.full_contiguity_ng50_bp
            raise ValueError(f"no_contiguity_ng50_bp = {low} must lie between 0 and full_contiguity_ng50_bp = {high}")


@dataclass
class DuplicateConfig:
    """Which sequences count as one; thresholds are nucleotide identity."""

    k: int = 21
    seed: int = 1
    permutations: int = 128
    signature_scaled: int = 8  # they see one k-mer hash of this many, so that they cost no more than the rest
    bins: int = 1_024
    assembly_identity: float = 0.99
    record_identity: float = 0.99
    species_identity: float = 0.994  # across species names, nuclear: sister species differ by more than copies do
    organelle_species_identity: float = 1.0  # the same for organelles; 1: the very same ring, on either strand
    window_bp: int = 6_144
    window_bins: int = 128
    window_identity: float = 0.97

    def __post_init__(self):
        if self.signature_scaled < 1:
            raise ValueError(f"duplicates.signature_scaled = {self.signature_scaled} must be at least 1")
        names = ("assembly_identity", "record_identity", "window_identity")
        for name in (*names, "species_identity", "organelle_species_identity"):
            if not 0.9 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie between 0.9 and 1: k-mers see no further")


class LabelPolicy(Enum):
    """What an outcome of label verification means for the records of its assembly."""

    KEEP = "keep"  # nothing is said of it
    FLAG = "flag"
    REJECT = "reject"


@dataclass
class LabelConfig:
    """When sketch distance and SNP identity verify or refute a cultivar label, and what each outcome means."""

    max_distance: float = 0.05  # to the accession's own reference
    margin: float = 0.001  # by which another accession's reference must be nearer to refute a label
    min_shared_hashes: int = 10
    synonyms: str = ""  # table of species names (name, accepted)
    min_name_score: float = 90.0  # of 100, for a name that is similar only
    name_margin: float = 5.0  # names within it of the best are as good: ambiguous
    same_label_identity: float = 0.95  # of SNPs, with samples of the same accession; below, a mismatch
    other_label_identity: float = 0.99  # with a sample of another accession; above, a synonym or a mix-up
    min_common_sites: int = 100  # that two samples have both, for their identity to count
    max_species_distance: float = 0.03  # to a whole genome of another species name, for it to be the nearer one
    species_margin: float = 0.02  # by which genomes of the own name must be further to refute it
    on_species_mismatch: LabelPolicy = LabelPolicy.REJECT  # whole genomes tell that it is another species
    on_close_species: LabelPolicy = LabelPolicy.FLAG  # near to another species, and less tells of its own
    on_synonym: LabelPolicy = LabelPolicy.FLAG
    on_ambiguous: LabelPolicy = LabelPolicy.FLAG
    on_mismatch: LabelPolicy = LabelPolicy.REJECT
    on_no_record: LabelPolicy = LabelPolicy.FLAG
    on_unverified: LabelPolicy = LabelPolicy.FLAG  # a record, but nothing to compare with

    def __post_init__(self):
        for name in ("max_distance", "margin", "same_label_identity", "other_label_identity"):
            _fraction(name, getattr(self, name))
        for name, most in (("max_species_distance", 0.1), ("species_margin", 0.5)):
            if not 0 < getattr(self, name) <= most:
                raise ValueError(f"{name} = {getattr(self, name)} must lie above 0, at most at {most}")
        for name in ("min_name_score", "name_margin"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"{name} = {getattr(self, name)} must lie between 0 and 100")
        if self.min_common_sites < 1:
            raise ValueError(f"min_common_sites = {self.min_common_sites} must be at least 1")


@dataclass
class RepeatConfig:
    """Where the repeat mask comes from."""

    min_soft_mask_fraction: float = 0.01  # of an assembly; below, the mask is computed
    k: int = 21
    min_count: int = 3  # k-mers seen at least this often in the assembly, on either strand
    dust_window: int = 64
    dust_threshold: int = 20
    max_kmers: int = (
        64_000_000  # held at 8 bytes each; of a larger assembly, one k-mer of as many as it takes is counted
    )

    def __post_init__(self):
        if self.k % 2 == 0 or not 3 <= self.k <= 31:
            raise ValueError(f"repeats.k = {self.k} must be odd and lie between 3 and 31")
        if not 1 <= self.min_count < 1 << 16 or not 1 <= self.max_kmers <= 1 << 26:
            text = f"repeats.min_count = {self.min_count} must lie between 1 and 65,535"
            raise ValueError(f"{text} and repeats.max_kmers = {self.max_kmers} between 1 and {1 << 26:,}")
        if not 4 <= self.dust_window <= 254 or self.dust_threshold < 1:
            text = f"repeats.dust_window = {self.dust_window} must lie between 4 and 254"
            raise ValueError(f"{text} and repeats.dust_threshold = {self.dust_threshold} be at least 1")


@dataclass
class CurationConfig:
    """Everything that shapes what is kept."""

    completeness: CompletenessConfig = field(default_factory=CompletenessConfig)
    contamination: ContaminationConfig = field(default_factory=ContaminationConfig)
    assembly_score: AssemblyScoreConfig = field(default_factory=AssemblyScoreConfig)
    duplicates: DuplicateConfig = field(default_factory=DuplicateConfig)
    label: LabelConfig = field(default_factory=LabelConfig)
    repeats: RepeatConfig = field(default_factory=RepeatConfig)
    flag_only: list[str] = field(default_factory=list)  # stages that judge and tell, but take nothing out

    def __post_init__(self):
        if unlike := [stage for stage in self.flag_only if stage not in STAGES]:
            raise ValueError(f"flag_only names {unlike[0]!r}: stages are {', '.join(STAGES)}")
        self.flag_only = [stage for stage in STAGES if stage in self.flag_only]  # one way to say it
        if "contamination" in self.flag_only:
            return
        for name in ("foreign_intervals", "vector_intervals"):
            if getattr(self.contamination, name) is IntervalAction.FLAG:
                raise ValueError(
                    f"{name} = FLAG would keep contamination: choose MASK, CUT or DROP, or flag_only=[contamination]"
                )

    def acting(self) -> CurationConfig:
        """As the stages act: where contamination only flags, no interval is masked or cut."""
        if "contamination" not in self.flag_only:
            return self
        flagged = dict.fromkeys(_SCREENED, IntervalAction.FLAG)
        return replace(self, contamination=replace(self.contamination, **flagged))
