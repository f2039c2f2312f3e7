"""Tokenizers behind one contract, to be compared: windows of bases in, tokens with their spans out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from tokenizers import Tokenizer, models, trainers

from plantgfm.sequence import decode
from plantgfm.tokenization.encode import windows as encode_windows
from plantgfm.tokenization.vocabulary import UNKNOWN_BASE, Vocabulary

BPE_CHUNK_BP = 512  # DNA has no words: BPE merges within chunks of this length
BPE_SAMPLE_BP = 1_000_000  # about 2 s of training; 4 Mbp takes 17 s and gives tokens 2 % longer


@dataclass(frozen=True)
class Segmentation:
    """Tokens of windows, in order; positions count through the windows as if they stood end to end."""

    ids: Int64[np.ndarray, "T"]
    start: Int64[np.ndarray, "T"]  # bp
    width: Int64[np.ndarray, "T"]  # bp


Segmenter = Callable[[np.ndarray], Segmentation]
"""Windows, uint8 [N, P] with or without repeat bits, to their tokens; no special tokens."""


def kmer_segmenter(vocabulary: Vocabulary) -> Segmenter:
    """The tokenizer of a hybrid vocabulary, or of plain 6-mers where that has no 8-mers."""

    def segment(windows: UInt8[np.ndarray, "N P"]) -> Segmentation:
        n, width_bp = windows.shape
        starts, forward = np.arange(n, dtype=np.int64) * width_bp, np.zeros(n, dtype=bool)
        ids, _, _ = encode_windows(
            vocabulary,
            windows.reshape(-1),
            starts=starts,
            reverse=forward,
            width_bp=width_bp,
            max_tokens=width_bp + 1,
        )
        kept = ids[ids >= UNKNOWN_BASE].astype(np.int64)
        return _tiled(kept, vocabulary.token_bp[kept].astype(np.int64))

    return segment


def train_bpe(windows: UInt8[np.ndarray, "N P"], size: int, *, sample_bp: int = BPE_SAMPLE_BP) -> Tokenizer:
    """Byte-pair encoding of DNA with `size` tokens, as DNABERT-2 has it (arXiv:2306.15006), no length limit.

    The windows are thinned evenly to `sample_bp` and cut into chunks of 512 bp; merges do not cross chunks.
    """
    step = max(1, -(-windows.size // sample_bp))
    texts = [decode(row) for row in windows[::step]]
    chunks = [text[i : i + BPE_CHUNK_BP] for text in texts for i in range(0, len(text), BPE_CHUNK_BP)]
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=list("ACGTN"), show_progress=False)
    tokenizer.train_from_iterator(chunks, trainer)
    return tokenizer


def bpe_segmenter(tokenizer: Tokenizer) -> Segmenter:
    """The segmenter of a trained BPE tokenizer."""
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        lengths[index] = len(token)

    def segment(windows: UInt8[np.ndarray, "N P"]) -> Segmentation:
        encodings = tokenizer.encode_batch([decode(row) for row in windows])
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(np.array(e.ids, dtype=np.int64) for e in encodings)])
        return _tiled(ids, lengths[ids])

    return segment


def _tiled(ids: Int64[np.ndarray, "T"], width: Int64[np.ndarray, "T"]) -> Segmentation:
    return Segmentation(ids, np.cumsum(width) - width, width)
