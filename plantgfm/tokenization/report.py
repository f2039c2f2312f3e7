"""What a vocabulary does, per stratum and in repeats, beside plain 6-mers and BPE of the same size.

All figures are of windows that neither the 8-mers were chosen from nor BPE was trained on. The claim under test is
"BPE over-merges repeats, the hybrid keeps them distinct". Every tokenizer here is lossless, so two copies that differ
always differ in some token; what can be measured is how a difference shows. The claim is split into four statements,
each with its own interval and verdict:

    merging    in tandem repeats BPE tokens grow longer than in unique sequence, by more than the hybrid's
    variety    in tandem repeats the hybrid spells with more token types (entropy per token) than BPE
    locality   a substitution between two copies of a repeat changes fewer bases' tokens under the hybrid than under BPE
    phase      identical copies in a row get fewer spellings under the hybrid than under BPE
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from plantgfm.sequence import BASE_MASK, UNKNOWN
from plantgfm.tokenization import measures
from plantgfm.tokenization.compartments import Compartment, compartments
from plantgfm.tokenization.sample import Stratum
from plantgfm.tokenization.segmenters import Segmenter, bpe_segmenter, kmer_segmenter, train_bpe
from plantgfm.tokenization.vocabulary import FIRST_BASE, FIRST_EIGHT, FIRST_SIX, N_SPECIAL, UNKNOWN_BASE, Vocabulary

REPORT_VERSION = 1  # raise it with every change of what is measured: stored reports are known by it
HYBRID, PLAIN, BPE = "hybrid", "6-mers", "BPE"
COPY_BP = 256  # length of the copies that substitutions are put into
SUBSTITUTIONS = 4  # in each copy: 1.6 % divergence
UNITS_BP = (9, 200)  # array units longer than any k-mer and seen several times in a window
_MAX_COPIES = 400
_RESAMPLES = 400
_SEED = 20240229


@dataclass(frozen=True)
class StratumRow:
    """Token use in one stratum, on windows held back from the choice."""

    stratum: str
    windows: int
    tokens_per_base: float
    tokens_per_base_six_mers: float
    tokens_per_base_bpe: float
    eight_mer_share: float  # of tokens
    single_base_share: float  # of tokens
    unknown_share: float  # of tokens


@dataclass(frozen=True)
class RepeatRow:
    """One tokenizer in one compartment."""

    tokenizer: str
    compartment: str
    bases: int
    bases_per_token: float
    relative_to_unique: float  # bases per token here / in unique sequence
    long_token_share: float  # of bases, in tokens of more than 8 bp
    token_types: int
    type_entropy_bits: float  # per token
    bits_per_base: float  # entropy x tokens / bases: what a unigram code of these tokens takes
    changed_bp_per_substitution: float
    distinct_spellings: float | None  # of identical copies in a row; tandem repeats only


@dataclass(frozen=True)
class ClaimRow:
    """One statement of the claim: hybrid beside BPE, a 95 % interval of the difference, shown, refuted or open."""

    statement: str
    measure: str
    hybrid: float
    bpe: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True)
class TokenizerReport:
    """The rows of the three tables."""

    strata: list[StratumRow]
    repeats: list[RepeatRow]
    claims: list[ClaimRow]

    def tables(self) -> dict[str, list[dict[str, object]]]:
        """Plain rows by table name."""
        names = ("strata", "repeats", "claims")
        return {name: [asdict(row) for row in getattr(self, name)] for name in names}


def tokenizer_report(
    vocabulary: Vocabulary, strata: Sequence[Stratum], *, labels: UInt8[np.ndarray, "N P"] | None = None
) -> TokenizerReport:
    """Measure a vocabulary on the held-back windows of its strata; 5 to 10 s for the default sample.

    Args:
        vocabulary: whose 8-mers were chosen from `strata`.
        strata: as `build_vocabulary` returns them; BPE is trained on what the choice saw.
        labels: the `Compartment` of every base of the held-back windows, strata in order, where the truth is known;
            found from the sequence and its repeat bits otherwise.

    Raises:
        ValueError: when no window is held back: the sample is too small; for a vocabulary that is no hybrid.
    """
    vocabulary.require_hybrid("the report of a vocabulary")
    windows = np.concatenate([stratum.held_back for stratum in strata])
    if not windows.size:
        raise ValueError("no windows were held back: raise tokenizer.sample_bp to four windows a stratum or more")
    found, arrays = compartments(windows)
    segmenters = _segmenters(vocabulary, strata)
    field = _Field(windows, found if labels is None else labels, arrays, segmenters)
    repeats, samples = _repeat_rows(field)
    return TokenizerReport([_stratum_row(stratum, segmenters) for stratum in strata], repeats, _claims(samples))


@dataclass(frozen=True)
class _Field:
    """What the repeat table is measured on."""

    windows: UInt8[np.ndarray, "N P"]
    labels: UInt8[np.ndarray, "N P"]
    arrays: Int64[np.ndarray, "N 3"]
    segmenters: dict[str, Segmenter]


@dataclass
class _Samples:
    """Figures by unit of resampling, for the intervals: [tokenizer][unit]."""

    tokens: dict[str, dict[Compartment, tuple[np.ndarray, np.ndarray]]]  # (tokens, bases) of each window
    types: dict[str, tuple[np.ndarray, np.ndarray]]  # tandem: (window, id) of each token
    changed: dict[str, np.ndarray]  # changed bp per substitution of each copy in repeats
    spellings: dict[str, np.ndarray]  # distinct share of each array


def _segmenters(vocabulary: Vocabulary, strata: Sequence[Stratum]) -> dict[str, Segmenter]:
    size = vocabulary.size - N_SPECIAL
    bpe = train_bpe(np.concatenate([stratum.chosen_from for stratum in strata]), size)
    plain = Vocabulary(np.zeros(0, dtype=np.uint16))
    return {HYBRID: kmer_segmenter(vocabulary), PLAIN: kmer_segmenter(plain), BPE: bpe_segmenter(bpe)}


def _stratum_row(stratum: Stratum, segmenters: dict[str, Segmenter]) -> StratumRow:
    windows = stratum.held_back
    if not windows.size:
        return StratumRow(stratum.name, 0, *[float("nan")] * 6)
    per_base = {name: segment(windows).ids.size / windows.size for name, segment in segmenters.items()}
    ids = segmenters[HYBRID](windows).ids
    shares = (ids >= FIRST_EIGHT, (ids >= FIRST_BASE) & (ids < FIRST_SIX), ids == UNKNOWN_BASE)
    return StratumRow(stratum.name, len(windows), *per_base.values(), *(float(share.mean()) for share in shares))


def _repeat_rows(field: _Field) -> tuple[list[RepeatRow], _Samples]:
    samples = _Samples({}, {}, {}, {})
    rows: list[RepeatRow] = []
    copies = {kind: _copies(field, kind) for kind in Compartment}
    for name, segment in field.segmenters.items():
        rows.extend(_rows_of(name, segment, field, copies, samples))
    return rows, samples


def _rows_of(
    name: str,
    segment: Segmenter,
    field: _Field,
    copies: dict[Compartment, tuple[np.ndarray, np.ndarray]],
    samples: _Samples,
) -> list[RepeatRow]:
    segmentation = segment(field.windows)
    counted = {k: measures.tokens_and_bases(segmentation, field.labels == k) for k in Compartment}
    per_token = {k: _ratio(bases.sum(), tokens.sum()) for k, (tokens, bases) in counted.items()}
    changed = {k: measures.changed_bp(segment, *pair) / SUBSTITUTIONS for k, pair in copies.items()}
    tiled = measures.tiled_arrays(field.windows, field.arrays, units=UNITS_BP)
    spellings = np.array([measures.distinct_spellings(segment, units) for units in tiled])
    samples.tokens[name], samples.spellings[name] = counted, spellings
    samples.changed[name] = np.concatenate((changed[Compartment.INTERSPERSED], changed[Compartment.TANDEM]))
    rows = []
    for kind in Compartment:
        inside = measures.middles_inside(segmentation, field.labels == kind)
        ids, width = segmentation.ids[inside], segmentation.width[inside]
        entropy = measures.type_entropy_bits(ids)
        if kind == Compartment.TANDEM:
            samples.types[name] = (segmentation.start[inside] // field.windows.shape[1], ids)
        rows.append(
            RepeatRow(
                tokenizer=name,
                compartment=kind.name.lower(),
                bases=int(counted[kind][1].sum()),
                bases_per_token=per_token[kind],
                relative_to_unique=_ratio(per_token[kind], per_token[Compartment.UNIQUE]),
                long_token_share=_ratio(width[width > 8].sum(), width.sum()),
                token_types=int(np.unique(ids).size),
                type_entropy_bits=entropy,
                bits_per_base=_ratio(entropy, per_token[kind]),
                changed_bp_per_substitution=_mean(changed[kind]),
                distinct_spellings=_mean(spellings) if kind == Compartment.TANDEM else None,
            )
        )
    return rows


def _copies(field: _Field, kind: Compartment) -> tuple[UInt8[np.ndarray, "N P"], UInt8[np.ndarray, "N P"]]:
    """Stretches that lie to four fifths in a compartment and hold no N, and their substituted copies."""
    length = min(COPY_BP, field.windows.shape[1])
    parts = field.windows.shape[1] // length
    cut = (slice(None), slice(0, parts * length))
    stretches = (field.windows[cut] & BASE_MASK).reshape(-1, length)
    inside = (field.labels[cut] == kind).reshape(-1, length).mean(axis=1) >= 0.8
    originals = stretches[inside & (stretches < UNKNOWN).all(axis=1)]
    originals = originals[:: max(1, -(-len(originals) // _MAX_COPIES))]
    rng = np.random.default_rng([_SEED, int(kind)])
    return originals, measures.substitute(originals, SUBSTITUTIONS, rng)


def _claims(samples: _Samples) -> list[ClaimRow]:
    """The four statements; a positive difference speaks for the claim."""
    merging = {name: _merging_draws(samples, name) for name in (HYBRID, BPE)}
    variety = {name: _variety_draws(samples, name) for name in (HYBRID, BPE)}
    locality = {name: _mean_draws(samples.changed[name]) for name in (HYBRID, BPE)}
    phase = {name: _mean_draws(samples.spellings[name]) for name in (HYBRID, BPE)}
    return [
        _claim("BPE merges tandem repeats more", "bases per token, tandem / unique", merging, sign=-1),
        _claim(
            "the hybrid spells tandem repeats with more variety", "entropy of types, bits per token", variety, sign=1
        ),
        _claim("the hybrid keeps a substitution local", "bp changed per substitution, in repeats", locality, sign=-1),
        _claim("the hybrid spells identical copies alike", "distinct spellings / identical copies", phase, sign=-1),
    ]


def _claim(statement: str, measure: str, draws: dict[str, Float64[np.ndarray, "draws"]], *, sign: int) -> ClaimRow:
    """A row from draws whose first is the full sample; draws of both tokenizers are paired."""
    differences = sign * (draws[HYBRID] - draws[BPE])
    differences = differences[np.isfinite(differences)]
    low, high = (float(q) for q in np.quantile(differences, [0.025, 0.975])) if differences.size else (np.nan, np.nan)
    verdict = "shown" if low > 0 else "refuted" if high < 0 else "open"
    return ClaimRow(statement, measure, float(draws[HYBRID][0]), float(draws[BPE][0]), low, high, verdict)


def _resamples(n: int) -> Int64[np.ndarray, "draws n"]:
    """Rows of indices into n units: all of them first, then bootstrap draws, the same for every tokenizer."""
    draws = np.random.default_rng([_SEED, n]).integers(0, max(1, n), (_RESAMPLES, n))
    return np.concatenate((np.arange(n)[None, :], draws))


def _mean_draws(values: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "draws"]:
    if not values.size:
        return np.full(1, np.nan)
    return values[_resamples(values.size)].mean(axis=1)


def _merging_draws(samples: _Samples, name: str) -> Float64[np.ndarray, "draws"]:
    counted = samples.tokens[name]
    ratios = []
    for kind in (Compartment.TANDEM, Compartment.UNIQUE):
        tokens, bases = counted[kind]
        rows = _resamples(tokens.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios.append(bases[rows].sum(axis=1) / tokens[rows].sum(axis=1))
    return ratios[0] / ratios[1]


def _variety_draws(samples: _Samples, name: str) -> Float64[np.ndarray, "draws"]:
    """Entropies over resampled windows; resampling biases both tokenizers' entropies down alike."""
    window, ids = samples.types[name]
    if not ids.size:
        return np.full(1, np.nan)
    n = int(max(found.max(initial=0) for found, _ in samples.types.values())) + 1
    types = np.unique(ids, return_inverse=True)[1]
    entropies = []
    for rows in _resamples(n)[: _RESAMPLES // 4]:
        counts = np.bincount(types, weights=np.bincount(rows, minlength=n)[window])
        shares = counts[counts > 0] / counts.sum()
        entropies.append(-(shares * np.log2(shares)).sum())
    return np.array(entropies)


def _ratio(a: float | np.number, b: float | np.number) -> float:
    return float(a / b) if b else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
