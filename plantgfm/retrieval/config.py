"""Settings of retrieval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class QueryPart(Enum):
    """What of a gene is the query: all of it, its longest coding sequence, or the surroundings of its start."""

    GENE = "gene"
    CDS = "cds"
    PROMOTER = "promoter"


class RankBy(Enum):
    """What windows are ranked by: the embedding alone, or its sum with evidence from the sequences themselves."""

    AUTO = "auto"  # fused where the bases of the target are at hand
    FUSED = "fused"
    EMBEDDING = "embedding"


class FitOn(Enum):
    """Whose mean and components are removed: those of the target's windows, or of the queries' windows with them."""

    TARGETS = "targets"
    BOTH = "both"


class IndexUse(Enum):
    """How the windows nearest to a query are found where the embedding alone ranks them."""

    AUTO = "auto"  # approximate from `index_least_windows` on where faiss is installed and a quarter of its lists is
    # enough; retrieval.json tells which
    EXACT = "exact"
    APPROXIMATE = "approximate"


@dataclass
class RetrievalConfig:
    """How queries are searched in a target."""

    top_k: int = 50  # hits reported per query
    rank_by: RankBy = RankBy.AUTO  # fused: the weighted sum of z of the four sources below
    weight_embedding: float = 0.2  # debiased cosine
    weight_composition: float = 0.2  # cosine of centred 6-mer frequencies
    weight_containment: float = 2.0  # share of a query's distinct 11-mers, those of few windows before the others
    weight_alignment: float = 2.0  # ungapped local alignments
    share_votes: bool = True  # an 11-mer, or aligned base, of a query that n windows hold counts 1 / (n + 1) in each;
    # false: 11-mers by the logarithm of their rarity, alignments in full, whatever they repeat
    motifs: str = ""  # a prior for windows that hold binding sites: AuxRE (TGTCTC), or a file in MEME's format
    weight_motifs: float = 0.5  # of that prior in the sum, where there is one
    csls: int = 0  # hubs: the mean cosine of a window to its nearest so many queries is taken off; 0: not
    components: int = 1  # leading components removed from all vectors (all-but-the-top); 0: only the mean
    whiten: bool = True  # scale the other components to the same variance; false: all-but-the-top alone
    ridge: float = 1e-3  # of whitening: variance added to each component, as a share of the components' mean variance
    fit_on: FitOn = FitOn.TARGETS  # both: each window of either set counts once, in however many strands and phases
    index: IndexUse = IndexUse.AUTO  # of the embedding alone, one vector a window: compare all, or what an index names
    index_least_windows: int = 1_000_000  # of a target, for auto to take the approximate index
    index_recall: float = 0.95  # of the exact hits among those of the index, which reads more lists until it has that
    query_part: QueryPart = QueryPart.GENE  # of genes that are cut out as queries
    flank_bp: int = 0  # added on both sides of a whole gene
    upstream_bp: int = 2000  # of a promoter, before the start of transcription, on the strand of the gene
    downstream_bp: int = 300  # of a promoter, from the start of transcription on
    max_query_tokens: int = 16_384  # over all windows of a query; longer ones are trimmed at their end, and named
    both_strands: bool = True  # of the queries, as they are embedded; false: as they are given, for ablations
    query_phases: int = 0  # each window of a query also without its first 1, 2, ... bases: 6 for all of a 6-mer's;
    # 0: 6 where the target's rows hold parts of windows (embed --part-bp), otherwise 1
    short_tiles: bool = True  # queries no longer than a quarter of a window are ranked among windows of their own size,
    # which are made where the target's bases are at hand, and kept; false: among the windows that are given
    null_queries: int = 100  # shuffled queries that are searched too, for p and q; 0: neither
    localize_hits: int = 0  # hits of each query that are scanned with narrow windows; 0: none
    scan_window_bp: int = 0  # width of these windows; 0: a third of the target's (2,048 of 6,144)
    scan_stride_bp: int = 0  # from one to the next; 0: an eighth of their width (256 of 2,048)
    confirm_hits: int = 0  # hits, and spans, of each query that aligners look at, too; 0: none
    confirm_margin_bp: int = 0  # on both sides of what they look at; 0: the width of the target's windows
    shortlist_recall: float = (
        0.0  # with a reranker: the share of queries whose shortlist is to hold a near hit; 0: none
    )
    tools: str = "auto"  # aligners to compare with, and to confirm by: all that are installed; none; or their names
    permutations: int = 20  # random rankings behind the chance figures
    resamples: int = 1000  # bootstrap over queries
    seed: int = 0

    @property
    def deepest_rank(self) -> int:
        """How far down ranks are read where they are evaluated, whatever number of hits is reported."""
        return max(self.top_k, 50)

    def __post_init__(self):
        if not 0 < self.ridge < math.inf:
            raise ValueError(
                f"retrieval.ridge={self.ridge} needs to be above 0 and finite; --no-whiten leaves whitening out"
            )
        if not 0 < self.index_recall <= 1:
            raise ValueError(f"retrieval.index_recall={self.index_recall} needs to lie in 0 to 1, 0 left out")
        if self.index is IndexUse.APPROXIMATE and self.csls:
            raise ValueError(
                f"retrieval.csls={self.csls} needs the cosines of all queries at every window: give index=EXACT"
            )
        for name in ("top_k", "permutations", "resamples", "max_query_tokens", "index_least_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"retrieval.{name}={getattr(self, name)} needs to be at least 1")
        for name in ("localize_hits", "scan_window_bp", "scan_stride_bp", "confirm_hits", "confirm_margin_bp", "csls"):
            if getattr(self, name) < 0:
                raise ValueError(f"retrieval.{name}={getattr(self, name)} is negative: 0 is the default")
        if self.weight_motifs != type(self).weight_motifs and not self.motifs:
            raise ValueError(
                f"retrieval.weight_motifs={self.weight_motifs} weighs motifs, of which there are none: name them"
            )
        for name in ("embedding", "composition", "containment", "alignment", "motifs"):
            if not 0 <= (weight := getattr(self, f"weight_{name}")) < math.inf:
                raise ValueError(f"retrieval.weight_{name}={weight} needs to be 0 or more and finite: 0 leaves it out")
        if not (self.weight_embedding or self.weight_composition or self.weight_containment or self.weight_alignment):
            raise ValueError("retrieval.weight_embedding=0 and all other weights 0 leave nothing to rank by: raise one")
        if not 0 <= self.query_phases <= 6:
            raise ValueError(
                f"retrieval.query_phases={self.query_phases} needs to lie in 1 to 6, the bases of a word, or be 0"
            )
        if self.null_queries < 0:
            raise ValueError(f"retrieval.null_queries={self.null_queries} is negative: 0 leaves p and q out")
        if self.components < 0:
            raise ValueError(f"retrieval.components={self.components} is negative: 0 removes only the mean")
        for name in ("upstream_bp", "downstream_bp"):
            if getattr(self, name) < 0:
                raise ValueError(f"retrieval.{name}={getattr(self, name)} is negative: 0 leaves that side out")
        if self.upstream_bp + self.downstream_bp == 0:
            raise ValueError("retrieval.upstream_bp=0 and downstream_bp=0 leave no promoter: raise one")
        if self.query_part is not QueryPart.PROMOTER and (self.upstream_bp, self.downstream_bp) != (2000, 300):
            raise ValueError(
                f"retrieval.upstream_bp={self.upstream_bp} and downstream_bp={self.downstream_bp} are of promoters, "
                f"query_part is {self.query_part.value}: ask for promoters"
            )
        if not self.localize_hits and (self.scan_window_bp or self.scan_stride_bp):
            raise ValueError(
                f"retrieval.scan_window_bp={self.scan_window_bp} and scan_stride_bp={self.scan_stride_bp} are of the "
                "fine scan, which is off: give localize_hits"
            )
        if not 0 <= self.shortlist_recall < 1:
            raise ValueError(f"retrieval.shortlist_recall={self.shortlist_recall} needs to lie in 0 to 1, 1 left out")
        if self.confirm_margin_bp and not self.confirm_hits:
            raise ValueError(
                f"retrieval.confirm_margin_bp={self.confirm_margin_bp} is of the confirmation, which is off: give "
                "confirm_hits"
            )
        if self.flank_bp and self.query_part is not QueryPart.GENE:
            raise ValueError(
                f"retrieval.flank_bp={self.flank_bp} widens whole genes, query_part is {self.query_part.value}: give 0"
            )
        if self.flank_bp < 0:
            raise ValueError(f"retrieval.flank_bp={self.flank_bp} is negative: 0 cuts the gene alone")
        if self.seed < 0:
            raise ValueError(f"retrieval.seed={self.seed} is negative: give 0 or more")


class HeadKind(Enum):
    """What is added to a vector: a linear map of low rank, or one with a GELU in its middle."""

    LINEAR = "linear"
    HIDDEN = "hidden"


@dataclass
class ProjectionConfig:
    """How a projection of debiased vectors is trained on ortholog pairs."""

    head: HeadKind = HeadKind.LINEAR
    rank: int = 16  # numbers that what is added passes through
    temperature: float = (
        0.0  # cosines are divided by it, at first: it is learned, too; 0: what fits best without a head
    )
    keep_identity: float = 1.0  # weight of the mean squared length of what is added, beside the contrastive loss
    learning_rate: float = 5e-4  # of Adam
    batch_pairs: int = 128  # of different queries: each is the others' negative
    hard_negatives: int = 8  # windows of each query that are ranked above others without the head, and are wrong
    max_steps: int = 400
    check_steps: int = 20  # between looks at the queries that were held out
    patience: int = 8  # looks without a better one, after which training stops
    held_out_fraction: float = 0.2  # of queries, by whole sequences, where nothing is named to hold out
    query_part: QueryPart = QueryPart.GENE  # of genes that are cut out as queries
    max_query_tokens: int = 16_384  # longer queries are trimmed at their end
    components: int = 1  # of debiasing, as for the search that will use it
    whiten: bool = True
    ridge: float = 1e-3
    resamples: int = 1000  # bootstrap over the queries that were held out
    seed: int = 0

    def search(self) -> RetrievalConfig:
        """The search that queries and targets are prepared for."""
        names = ("query_part", "max_query_tokens", "components", "whiten", "ridge", "resamples", "seed")
        return RetrievalConfig(null_queries=0, **{name: getattr(self, name) for name in names})

    def __post_init__(self):
        self.search()
        for name in ("rank", "max_steps", "check_steps", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"projection.{name}={getattr(self, name)} needs to be at least 1")
        if self.batch_pairs < 2:
            raise ValueError(
                f"projection.batch_pairs={self.batch_pairs} leaves a query no other to be told from: raise it"
            )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"projection.learning_rate={self.learning_rate} needs to be above 0 and finite")
        if self.temperature and not 0.005 <= self.temperature <= 1:
            raise ValueError(f"projection.temperature={self.temperature} needs to lie in 0.005 to 1; 0 fits it")
        if not 0 <= self.keep_identity < math.inf:
            raise ValueError(f"projection.keep_identity={self.keep_identity} needs to be 0 or more and finite")
        if not 0 <= self.hard_negatives <= 50:
            raise ValueError(f"projection.hard_negatives={self.hard_negatives} needs to lie in 0 to 50")
        if not 0 < self.held_out_fraction < 1:
            raise ValueError(f"projection.held_out_fraction={self.held_out_fraction} needs to lie between 0 and 1")
