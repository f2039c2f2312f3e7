"""A trained model, opened for use from Python: vectors, logits, probabilities of bases, variants, gaps.

from plantgfm import load

model = load("runs/mine/bundle")  # or a folder that `plantgfm export --format huggingface` wrote
vectors = model.embed(["ACGTACGGCATTACGATT", "TTGACCA"])  # float32 [2, D]
scores = model.score_variants("variants.vcf.gz", "genome.fa.gz")
print(scores.log_ratio, scores.reason)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8

from plantgfm.embedding.config import EmbeddingConfig, Pooling, StrandUse
from plantgfm.embedding.embed import Embedder, padded_length
from plantgfm.embedding.encoders import BundleEncoder, Encoder, open_encoder
from plantgfm.embedding.masked import masked_model
from plantgfm.embedding.predict import Filled, Predictor
from plantgfm.embedding.variants import VariantScores, check_variants, score_variants
from plantgfm.export.bundle import Bundle, BundleError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.paths import user_path
from plantgfm.formats.vcf import read_variants
from plantgfm.sequence import BASE_MASK, UNKNOWN, encode
from plantgfm.tokenization.vocabulary import MASK, SPECIAL_TOKENS

Sequences = Sequence[str | np.ndarray]
"""Texts of nucleotides in either case (U reads as T, IUPAC codes as N), or their base codes, uint8 [P]."""


def load(path: str | Path, *, remote_code: bool = False) -> Model:
    """Open a model.

    Args:
        path: a bundle; a folder that `plantgfm export --format huggingface` wrote, also one trained further and saved
            by `save_pretrained` with `plantgfm.json` still in it; or another model's folder, or its name on the
            hub where it was downloaded before. All give vectors; what else another model gives is said at the methods.
        remote_code: run the Python code that another model's folder holds.

    Raises:
        BundleError: (a ValueError) when the folder is none of them, is damaged, or its parts do not belong together.
    """
    return Model(open_encoder(user_path(path), remote_code=remote_code))


class Model:
    """An opened model; each method compiles what it needs when it is first called."""

    def __init__(self, model: Encoder | Bundle):
        self.encoder: Encoder = BundleEncoder(model) if isinstance(model, Bundle) else model

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for every file of the model."""
        return self.encoder.fingerprint

    @property
    def width(self) -> int:
        """D, the number of dimensions of a vector."""
        return self.encoder.width

    @property
    def bundle(self) -> Bundle:
        """The bundle behind it: network, parameters, vocabulary, lineage.

        Raises:
            BundleError: for another kind of model.
        """
        if not isinstance(self.encoder, BundleEncoder):
            raise BundleError("this model is no bundle of ours: it has no vocabulary, network or lineage of our kind")
        return self.encoder.bundle

    def embed(
        self,
        sequences: Sequences,
        *,
        pooling: str | Pooling = Pooling.MEAN,
        layer: int = -1,
        strand: str | StrandUse = StrandUse.FORWARD,
        batch_windows: int = 32,
    ) -> Float32[np.ndarray, "B D"] | list[np.ndarray]:
        """Vectors of sequences; each sequence is one window, whatever its length.

        Args:
            sequences: B of them.
            pooling: "mean" over the tokens ([CLS] not counted), "cls", "max"; or "token" or "base": a vector each.
            layer: -1 after the final norm, 0 the token embedding, i after layer i.
            strand: "forward", "reverse" (of the reverse complement) or "both", their mean.
            batch_windows: most sequences that are computed together.

        Returns:
            float32 [B, D]. With "token" a list of B arrays [L, D], without [CLS], in the order of the sequence
            (`spans` tells where they lie); with "base" a list of B arrays [P, D], in which the bases of a token share
            its vector.

        Raises:
            ValueError: for an empty sequence, a letter that is no nucleotide (protein), an unknown pooling or strand,
                a layer that does not exist, and per-token vectors of both strands, which are cut in other places.
        """
        codes = _codes(sequences)
        pooling, strand = _member(Pooling, pooling, "pooling"), _member(StrandUse, strand, "strand")
        # The window only matters where sequences are cut into some.
        rows = min(batch_windows, 1 << max(len(codes) - 1, 0).bit_length())  # few sequences in a batch of few rows
        config = EmbeddingConfig(pooling=pooling, layer=layer, strand=strand, batch_windows=rows)
        embedder = Embedder(self.encoder, replace(config, window_bp=self.encoder.window_bp or 1))
        return embedder.embed(codes) if pooling.whole else embedder.embed_places(codes)[1]

    def spans(
        self, sequence: str | np.ndarray, *, strand: str | StrandUse = StrandUse.FORWARD
    ) -> Int64[np.ndarray, "L 2"]:
        """Start and end (0-based, half-open, bp) of each token of a sequence, in its order; they tile it.

        The reverse strand is cut into tokens from its own left end, so its tokens lie elsewhere.

        Raises:
            BundleError: for another model whose tokens do not tell which bases they cover.
            ValueError: for an empty sequence, a letter that is no nucleotide, a strand that is not one of the two, or a
                sequence longer than the model can read.
        """
        codes, strand = _codes([sequence])[0], _member(StrandUse, strand, "strand")
        if strand is StrandUse.BOTH:
            raise ValueError("the two strands are cut in other places: ask for forward or reverse")
        (row,) = self._rows([codes], reverse=strand is StrandUse.REVERSE)
        widths = self.encoder.token_bp(row).astype(np.int64)
        ends = np.cumsum(widths[widths > 0])
        places = np.stack([ends - widths[widths > 0], ends], axis=1)
        return codes.size - places[::-1, ::-1] if strand is StrandUse.REVERSE else places

    def logits(self, sequences: Sequences) -> list[Float32[np.ndarray, "L V"]]:
        """Logits of every token of each sequence, of the masked (or causal) head, nothing hidden.

        Returns:
            One array [L, V] a sequence, float32; V is the size of the model's own vocabulary, softmax over it gives
            probabilities, and L counts the special tokens of the model: of ours, [CLS] first. Row i of a masked model
            speaks of token i, of a causal one of token i + 1.

        Raises:
            BundleError: for another model without a masked head.
            ValueError: for an empty sequence, a letter that is no nucleotide, or a sequence longer than the model can
                read.
        """
        found = []
        for row in self._rows(_codes(sequences)):
            length = padded_length(row.size)
            tokens = np.full((1, min(length, self.encoder.max_tokens or length)), self.encoder.pad, np.int32)
            tokens[0, : row.size] = row
            found.append(self.encoder.logits(tokens)[0, : row.size])
        return found

    def _rows(self, codes: list[UInt8[np.ndarray, "_"]], *, reverse: bool = False) -> list[Int32[np.ndarray, "_"]]:
        """Ids of each sequence, none cut."""
        rows = [self.encoder.encode(one, reverse=reverse) for one in codes]
        limit = self.encoder.max_tokens
        if limit and (long := [row.size for row in rows if row.size > limit]):
            raise ValueError(f"a sequence makes {long[0]:,} tokens, this model reads {limit:,}: give a shorter one")
        return rows

    def per_base_probabilities(
        self, sequences: Sequences, *, strand: str | StrandUse = StrandUse.BOTH
    ) -> list[Float32[np.ndarray, "P 4"]]:
        """Probabilities of A, C, G and T at every base of each sequence, from what surrounds its token.

        The token over the base is hidden and the rest of the sequence is seen; summed are the tokens of its length.
        That is one pass of the network a token and strand: a sequence of 6 kb takes 1,000.

        Args:
            sequences: each one window.
            strand: "forward", "reverse", or "both": the mean of the two.

        Returns:
            One array [P, 4] a sequence, float32; columns A, C, G, T of the given strand, rows sum to 1.

        Raises:
            BundleError: for a causal model, and another one without a masked head, or whose tokens are neither 6-mers
                nor single bases (byte pairs, overlapping k-mers): they do not tell single bases.
            ValueError: for an empty sequence, a letter that is no nucleotide, an unknown strand, or a sequence longer
                than the model can read.
        """
        strand = _member(StrandUse, strand, "strand")
        return [self._predictor.per_base(codes, strand) for codes in _codes(sequences)]

    def score_variants(
        self,
        vcf: str | Path,
        fasta: str | Path,
        *,
        window_bp: int = 0,
        skip_mismatches: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> VariantScores:
        """Log-likelihood ratio and embedding distance of every single-base substitution of a VCF file.

        Args:
            vcf: plain, gzip or bgzip; in any order, several alternatives a line are several rows.
            fasta: the reference, whose bases REF has to have.
            window_bp: bases that are seen around a variant; 0: as long as the model was trained on. Where N make more
                tokens of it than another model can read, it sees those around the variant.
            skip_mismatches: go on where REF is not what the FASTA has; the allele gets the reason "ref_mismatch".
            progress: called with the number of alleles done and in all.

        Returns:
            `VariantScores`: `log_ratio` in nats (ln P(alt) - ln P(ref), mean of the strands; negative where the
            alternative is less likely), each strand's own, `distance` (Euclidean, between vectors of `embed`), and
            `reason`, which says why there is none: insertions, deletions and all but substitutions of one base are
            not scored. `columns()` gives them as a table.

        Raises:
            BundleError: as `per_base_probabilities`.
            ValueError: for a window that another model does not tell or can't read.
            FormatError: (a ValueError) with the line, for files that are no VCF or FASTA, a sequence that the FASTA
                lacks, a REF beyond its end or, without `skip_mismatches`, one that differs.
        """
        if window_bp < 0:
            raise ValueError(f"window_bp={window_bp} is negative: give base pairs, or 0 for the model's own")
        window_bp = self._window_bp(window_bp)
        predictor, variants = self._predictor, read_variants(user_path(vcf))
        reasons = check_variants(variants, read_fasta(user_path(fasta)), skip_mismatches=skip_mismatches)
        return score_variants(
            predictor,
            variants,
            reasons,
            read_fasta(user_path(fasta)),
            window_bp=window_bp,
            progress=progress,
        )

    def _window_bp(self, window_bp: int) -> int:
        """The window around a variant."""
        model, chosen = self._predictor.model, window_bp or self.encoder.window_bp
        if not chosen:
            raise ValueError("this model does not tell how long its windows are: give window_bp (--window-bp)")
        if model.max_tokens and chosen > (most := model.cutting.longest_bp * (model.max_tokens - 1)):
            raise ValueError(f"window_bp={chosen} is more than the {most} bp that this model can read: lower it")
        return chosen

    def fill(self, sequence: str | np.ndarray) -> Filled:
        """Put bases where they are not known: N, IUPAC codes, or [MASK], which stands for six bases.

        Returns:
            `Filled`: the sequence in upper case, the positions (0-based) that were not known, and for each the
            probability of the base that was put there, given what was known then.

        Raises:
            BundleError: as `per_base_probabilities`.
            ValueError: for an empty sequence, a letter that is no nucleotide, or a sequence longer than the model can
                read.
        """
        text = sequence.replace(SPECIAL_TOKENS[MASK], "N" * 6) if isinstance(sequence, str) else sequence
        return self._predictor.fill(_codes([text])[0])

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(masked_model(self.encoder))


def _codes(sequences: Sequences) -> list[UInt8[np.ndarray, "_"]]:
    """Base codes of each sequence.

    Raises:
        ValueError: for one text in place of a list, an empty sequence, a letter or code that is no nucleotide.
    """
    if isinstance(sequences, str | bytes):
        raise ValueError("one text was given where a list of sequences is needed: put it in brackets, [sequence]")
    found = []
    for index, one in enumerate(sequences):
        try:
            codes = encode(one) if isinstance(one, str) else np.asarray(one)
        except ValueError as error:
            raise ValueError(f"sequence {index}: {error}") from None
        if not codes.size:
            raise ValueError(f"sequence {index} is empty: there is nothing to read")
        if codes.dtype != np.uint8 or codes.ndim != 1 or np.max(codes & BASE_MASK) > UNKNOWN:
            raise ValueError(f"sequence {index} is neither a text nor an array of base codes 0 to 4, uint8 [P]")
        found.append(codes & BASE_MASK)
    return found


def _member(kind, value, what: str):
    """The member of an enum that a text names."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise ValueError(f"unknown {what} {value!r}: give one of {names}") from None
