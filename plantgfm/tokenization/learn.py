"""Byte-pair encoding learnt on the sample that the 8-mers are chosen on."""

from __future__ import annotations

import json
import re

import numpy as np
from jaxtyping import UInt8
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from plantgfm.sequence import BASES, decode, reverse_complement
from plantgfm.tokenization.segmenters import BPE_CHUNK_BP
from plantgfm.tokenization.vocabulary import FIRST_BASE, UNKNOWN_BASE, Vocabulary

LEARNT_BP = 2_000_000  # of the sample, read on both strands


def learn_merges(windows: UInt8[np.ndarray, "N P"], size: int, *, sample_bp: int = LEARNT_BP) -> Vocabulary:
    """The vocabulary of `size` tokens, specials included, that byte-pair encoding learns from windows; deterministic.

    Windows are thinned evenly to `sample_bp` and read on both strands, as training does, in chunks of 512 bp. A merge
    crosses neither a chunk nor an unknown base, and a token may be as long as it likes.

    Raises:
        ValueError: for fewer tokens than the single bases, and when the windows hold too few different pairs.
    """
    if size < FIRST_BASE + len(BASES):
        raise ValueError(f"{size} tokens are fewer than the special ones, N and four bases: ask for 9 or more")
    step = max(1, -(-windows.size // sample_bp))
    texts = [decode(strand) for row in windows[::step] for strand in (row, reverse_complement(row))]
    chunks = [text[i : i + BPE_CHUNK_BP] for text in texts for i in range(0, len(text), BPE_CHUNK_BP)]
    runs = [run for chunk in chunks for run in re.findall("[ACGT]+", chunk)]
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size - FIRST_BASE, initial_alphabet=list(BASES), show_progress=False, special_tokens=[]
    )
    tokenizer.train_from_iterator(runs, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    vocabulary = Vocabulary.of_merges(tuple((left, right) for left, right in merges))
    if vocabulary.size != size:
        raise ValueError(
            f"the sample of {sum(map(len, runs)):,} bp gave {vocabulary.size} tokens of the {size} wanted: raise "
            "tokenizer.sample_bp, or lower tokenizer.eight_mers"
        )
    return vocabulary


def as_library(vocabulary: Vocabulary) -> Tokenizer:
    """The same encoding by `tokenizers`, for upper-case ACGTN texts; ids are ours."""
    ids = {text: number for number, text in enumerate(vocabulary.tokens) if number >= UNKNOWN_BASE}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=list(vocabulary.merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("N"), behavior="isolated")
    return tokenizer
