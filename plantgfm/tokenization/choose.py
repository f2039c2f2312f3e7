"""Which 8-mers a vocabulary holds: those that shorten every stratum, weighed so that none owns the choice.

Let f_s(w) be the frequency of the 8-mer w in stratum s, both strands counted. The share of tokens that are 8-mers
grows with q_s = sum of f_s over the chosen set. The choice maximises

    mean over strata of log q_s        (proportional fairness)

so a word counts by what it adds *relative to what its stratum already has*: a satellite that fills half a species is
covered by a few hundred words, after which that stratum weighs little, while ranking by the mean frequency would go on
serving it. The optimum ranks words by the sum of f_s(w) / q_s; since q depends on the choice, weights and choice are
computed in turns and the best choice seen is kept.

The set is closed under reverse complement and has exactly the size asked for: 256 of the 65,536 8-mers are their own
reverse complement and count one, the other 32,640 pairs count two, so a set of every size from 0 to 65,536 exists, odd
sizes holding an odd number of palindromes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64, Integer, UInt8
from numba import njit

from plantgfm.tokenization.config import VocabularyConfig, VocabularyKind
from plantgfm.tokenization.sample import Stratum, sample_strata
from plantgfm.tokenization.vocabulary import FIRST_EIGHT, Vocabulary, reverse_complement_codes

CHOICE_VERSION = 1  # raise it with every change of what is sampled or chosen: stored vocabularies are known by it
N_EIGHT_MERS = 4**8
_ROUNDS = 30


@njit(cache=True, nogil=True)
@no_type_check
def _count(windows, counts):
    """Add the 8-mers of each row, int64 [65536]; unknown bases and row ends break words."""
    for row in range(windows.shape[0]):
        code, known = 0, 0
        for column in range(windows.shape[1]):
            base = windows[row, column] & 7
            known = known + 1 if base < 4 else 0
            code = (code << 2 | (base & 3)) & 0xFFFF
            if known >= 8:
                counts[code] += 1


def count_eight_mers(bases: UInt8[np.ndarray, "..."]) -> Int64[np.ndarray, "65536"]:
    """Occurrences of each 8-mer on both strands of a sequence [P] or of windows [N, P]."""
    counts = np.zeros(N_EIGHT_MERS, dtype=np.int64)
    _count(np.ascontiguousarray(bases).reshape(-1, bases.shape[-1]), counts)
    return counts + counts[reverse_complement_codes(np.arange(N_EIGHT_MERS), 8)]


def choose_eight_mers(samples: Iterable[tuple[str, UInt8[np.ndarray, "..."]]], config: VocabularyConfig) -> Vocabulary:
    """The vocabulary whose 8-mers serve all strata most evenly; the order of the strata does not matter.

    Args:
        samples: (name of the stratum, its bases [P] or windows [N, P]); parts of one name are added up. Strata
            weigh the same whatever their size.
        config: how many 8-mers.

    Raises:
        ValueError: when the samples hold no 8-mer at all.
    """
    counts: dict[str, np.ndarray] = {}
    for name, bases in samples:
        counts[name] = counts.get(name, 0) + count_eight_mers(bases)
    rows = [counts[name] / counts[name].sum() for name in sorted(counts) if counts[name].sum()]
    if not rows:
        raise ValueError("the samples hold no 8 known bases in a row: give sequence to choose 8-mers from")
    return Vocabulary(_fairest_set(np.stack(rows), config.eight_mers).astype(np.uint16))


def build_vocabulary(
    bases: UInt8[np.ndarray, "P"],
    *,
    offsets: Integer[np.ndarray, "R"],
    lengths: Integer[np.ndarray, "R"],
    species: Integer[np.ndarray, "R"],
    species_names: Sequence[str],
    config: VocabularyConfig,
) -> tuple[Vocabulary, list[Stratum]]:
    """Sample the given (training) regions and choose the tokens; returns the strata too, for the report.

    The arguments are those of `sample_strata`.
    """
    strata = sample_strata(
        bases, offsets=offsets, lengths=lengths, species=species, species_names=species_names, config=config
    )
    if config.kind is VocabularyKind.BASES:
        return Vocabulary.of_bases(), strata
    if config.kind is VocabularyKind.BPE:
        windows = np.concatenate([stratum.chosen_from for stratum in strata])
        from plantgfm.tokenization.learn import learn_merges  # not needed to train, where it may be absent

        return learn_merges(windows, FIRST_EIGHT + config.eight_mers), strata
    names = (f"{stratum.species}|{stratum.repeat_bin:03d}" for stratum in strata)
    return choose_eight_mers(zip(names, (stratum.chosen_from for stratum in strata)), config), strata


def best_closed_set(scores: Float64[np.ndarray, "65536"], size: int) -> Int64[np.ndarray, "N"]:
    """The set of exactly `size` 8-mers, closed under reverse complement, with the largest sum of scores.

    Scores must be equal on both strands. Equal scores are settled by the lower code. Exact: for every number of
    palindromes of the right parity the best ones are known, so the sums of all mixtures are compared.
    """
    codes = np.arange(N_EIGHT_MERS)
    other = reverse_complement_codes(codes, 8)
    palindromes, pairs = codes[codes == other], codes[codes < other]
    palindromes = palindromes[np.argsort(-scores[palindromes], kind="stable")]
    pairs = pairs[np.argsort(-scores[pairs], kind="stable")]
    singles = np.arange(size % 2, min(size, palindromes.size) + 1, 2)
    singles = singles[(size - singles) // 2 <= pairs.size]
    of_palindromes = np.concatenate(([0.0], np.cumsum(scores[palindromes])))[singles]
    of_pairs = np.concatenate(([0.0], np.cumsum(2 * scores[pairs])))[(size - singles) // 2]
    n = int(singles[np.argmax(of_palindromes + of_pairs)])
    half = pairs[: (size - n) // 2]
    return np.sort(np.concatenate((palindromes[:n], half, other[half])))


def _fairest_set(frequencies: Float64[np.ndarray, "S 65536"], size: int) -> Int64[np.ndarray, "N"]:
    """The closed set of a size with the largest mean log share over strata that the rounds meet."""
    weights = np.ones(len(frequencies))
    best, best_value = best_closed_set(frequencies.sum(axis=0), size), -np.inf
    for _ in range(_ROUNDS):
        chosen = best_closed_set((weights[:, None] * frequencies).sum(axis=0), size)
        shares = np.maximum(frequencies[:, chosen].sum(axis=1), 1e-12)
        value = float(np.log(shares).mean())
        if value > best_value:
            best, best_value = chosen, value
        # The geometric mean of old and new weights damps the swing between two choices.
        weights = np.sqrt(weights / shares)
    return best
