"""What a masked model says of hidden tokens: of each base of a sequence, and of bases that are not known.

A token is hidden as in training, by [MASK]; the probability of a base is summed over the tokens of the hidden one's
length (`objectives.nucleotides`). Everything is computed in batches of one shape and in lengths that are rounded up, so
that few programs are compiled. Rows are in the ids of a vocabulary of ours, whichever model is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from plantgfm.embedding.config import StrandUse
from plantgfm.embedding.embed import STRANDS, padded_length
from plantgfm.embedding.masked import Answer, MaskedModel
from plantgfm.sequence import UNKNOWN, decode, reverse_complement
from plantgfm.tokenization.vocabulary import CLS, FIRST_BASE, FIRST_SIX, MASK, PAD, kmer_digits

_FILLED_SHARE = 8  # of the hidden tokens, the surest eighth is decided in a round


@dataclass(frozen=True)
class Said:
    """What the model says of rows: of the token at each row's slot, and the mean state of each row."""

    log_bases: Float32[np.ndarray, "B widest 4"]  # ln P(A, C, G, T) at each offset of the token, -inf behind its end
    log_tokens: Float32[np.ndarray, "B V"] | None  # ln P of every token; None where it was not asked for
    vectors: Float32[np.ndarray, "B D"]  # masked mean of the final states, as `plantgfm embed` gives it


@dataclass(frozen=True)
class Row:
    """One row of a batch."""

    tokens: Int32[np.ndarray, "L"]  # [CLS] first
    slot: int  # the position that is asked about; 0 ([CLS]): nothing but the vector is wanted
    length_bp: int  # bases of the token that lies there


@dataclass(frozen=True)
class Filled:
    """A sequence without unknown bases, and how sure the model is of those that it gave."""

    sequence: str  # upper case
    positions: Int64[np.ndarray, "N"]  # 0-based, of the bases that were not known
    probabilities: Float32[np.ndarray, "N"]  # of the base that was put there


class Predictor:
    """A masked model: hidden tokens in, probabilities out."""

    def __init__(self, model: MaskedModel):
        self.model, self.cutting, self.vocabulary = model, model.cutting, model.cutting.vocabulary

    def ask(self, rows: Sequence[Row], *, tokens: bool = False) -> Said:
        """What the model says of each row; `tokens` also gives the probabilities of all tokens (V numbers a row).

        Raises:
            ValueError: for a row that is longer than the model can read.
        """
        most, limit = max((row.tokens.size for row in rows), default=0), self.model.max_tokens
        if limit and most > limit:
            raise ValueError(f"a sequence makes {most:,} tokens, this model reads {limit:,}: give a shorter one")
        width = self.vocabulary.size if tokens else 0
        log_bases = np.empty((len(rows), self.vocabulary.token_bases.shape[1], 4), np.float32)
        log_tokens = np.empty((len(rows), width), np.float32)
        vectors = np.empty((len(rows), self.model.width), np.float32)
        order = np.argsort([row.tokens.size for row in rows], kind="stable")
        for first in range(0, order.size, self.model.batch_rows):
            chosen = order[first : first + self.model.batch_rows]
            found = [np.asarray(part, np.float32) for part in self._batch([rows[i] for i in chosen])]
            log_bases[chosen], vectors[chosen] = found[0][: chosen.size], found[2][: chosen.size]
            log_tokens[chosen] = found[1][: chosen.size, :width]
        return Said(log_bases, log_tokens if tokens else None, vectors)

    def _batch(self, rows: list[Row]) -> Answer:
        n, length = self.model.batch_rows, padded_length(max(row.tokens.size for row in rows))
        batch = np.full((n, min(length, self.model.max_tokens or length)), PAD, np.int32)
        batch[:, 0] = CLS  # rows that fill the batch attend to something
        slots, lengths = np.zeros((n, 1), np.int32), np.ones(n, np.int32)
        for i, row in enumerate(rows):
            batch[i, : row.tokens.size] = row.tokens
            slots[i], lengths[i] = row.slot, row.length_bp
        return self.model.ask(batch, slots, lengths)

    def per_base(self, bases: UInt8[np.ndarray, "P"], strand: StrandUse) -> Float32[np.ndarray, "P 4"]:
        """Probability of A, C, G and T at each base while the token over it is hidden; the rest of it is seen.

        Of two strands the mean. One row of a batch a token and strand.
        """
        out = np.zeros((bases.size, 4), np.float32)
        strands = STRANDS[strand]
        for reverse in strands:
            row, places = self.cutting.tokens_of(reverse_complement(bases) if reverse else bases)
            one = np.empty((bases.size, 4), np.float32)
            for first in range(0, len(places), self.model.batch_rows):
                part = places[first : first + self.model.batch_rows]
                asked = [hidden_row(row, first + i, int(end - start)) for i, (start, end) in enumerate(part)]
                for (start, end), log in zip(part, self.ask(asked).log_bases):
                    one[start:end] = np.exp(log[: end - start])
            out += one[::-1, ::-1] if reverse else one
        return out / len(strands)

    def fill(self, bases: UInt8[np.ndarray, "P"]) -> Filled:
        """Put the likeliest bases where they are not known, the surest tokens first.

        A token of six bases over an unknown base is hidden (at the end, and of a model of single bases: of one); of the
        tokens that agree with what is known of it the likeliest is taken. In each round the surest eighth of the hidden
        ones is decided, and the next round sees it.
        """
        unknown = np.flatnonzero(bases == UNKNOWN)
        row, places = self._with_gaps(bases)
        filled, sure = bases.copy(), np.ones(bases.size, np.float32)
        waiting = [index for index, (start, end) in enumerate(places) if np.any(bases[start:end] == UNKNOWN)]
        while waiting:
            asked = [Row(row, index + 1, int(places[index, 1] - places[index, 0])) for index in waiting]
            said = self.ask(asked, tokens=True).log_tokens
            best = [self._best(log, filled[places[i, 0] : places[i, 1]]) for i, log in zip(waiting, said)]
            take = np.argsort([-shares.max() for _, shares in best], kind="stable")[: -(-len(waiting) // _FILLED_SHARE)]
            for chosen in take:
                index, (codes, shares) = waiting[chosen], best[chosen]
                start, end = places[index]
                known = codes[int(np.argmax(shares))]
                agree = codes == known[None, :]
                sure[start:end] = np.sum(shares[:, None] * agree, axis=0)
                filled[start:end] = known
                row[index + 1] = int(self.cutting.encode(known)[0])
            waiting = [index for at, index in enumerate(waiting) if at not in set(take.tolist())]
        return Filled(decode(filled), unknown.astype(np.int64), sure[unknown])

    def _best(self, log_tokens: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of this length that agree with the known bases, as their bases [n, k], and their shares [n]."""
        low = FIRST_SIX if known.size == 6 else FIRST_BASE
        codes = _kmers(known.size)
        agree = np.all((codes == known[None, :]) | (known[None, :] == UNKNOWN), axis=1)
        log = log_tokens[low : low + len(codes)][agree].astype(np.float64)
        shares = np.exp(log - log.max())
        return codes[agree], (shares / shares.sum()).astype(np.float32)

    def _with_gaps(self, bases: UInt8[np.ndarray, "P"]) -> tuple[Int32[np.ndarray, "L"], Int64[np.ndarray, "T 2"]]:
        """Tokens, [CLS] first and [MASK] over unknown bases, and the span of each; unknown bases part no tokens."""
        ids, starts, at = [CLS], [], 0
        while at < bases.size:
            width = self.cutting.longest_bp if at + self.cutting.longest_bp <= bases.size else 1
            if np.any(bases[at : at + width] == UNKNOWN):
                token = MASK
            else:
                token = int(self.cutting.encode(bases[at : at + 8])[0])
                width = int(self.vocabulary.token_bp[token])
            ids.append(token)
            starts.append(at)
            at += width
        edges = np.array([*starts, bases.size], np.int64)
        return np.array(ids, np.int32), np.stack([edges[:-1], edges[1:]], axis=1)


@cache
def _kmers(k: int) -> np.ndarray:
    """The bases of all k-mers in the order of their ids, uint8 [4^k, k]."""
    return kmer_digits(np.arange(4**k), k).astype(np.uint8)


def hidden_row(row: Int32[np.ndarray, "L"], index: int, length_bp: int) -> Row:
    """The row with its token `index` (not counting [CLS]) hidden, and asked about."""
    tokens = row.copy()
    tokens[index + 1] = MASK
    return Row(tokens, index + 1, length_bp)
