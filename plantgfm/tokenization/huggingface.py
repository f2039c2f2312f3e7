"""The same tokenizer for Hugging Face: `tokenizer.json` and `tokenizer_config.json` as dictionaries, no remote code.

A WordLevel model behind one regular expression: chosen 8-mers first, then any 6-mer, then one letter. The expression
takes the first alternative that fits, which is the greedy longest match of the kernels. Letters are normalised before:
lower case to upper case, U to T, everything else to N. (The kernels' reader refuses letters that are no IUPAC
nucleotides; `tokenizers` cannot refuse, so they become N here.) N is a plain token, so there is no unknown token.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from plantgfm.sequence import BASES
from plantgfm.tokenization.vocabulary import CLS, FIRST_EIGHT, MASK, SEP, SPECIAL_TOKENS, Vocabulary, kmer_code


def tokenizer_json(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of `tokenizer.json`: the ids of `encode`, with [CLS] before and nothing behind.

    Raises:
        ValueError: for a vocabulary that is no hybrid.
    """
    vocabulary.require_hybrid("the tokenizer for Hugging Face")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(token, index) for index, token in enumerate(SPECIAL_TOKENS)],
        "normalizer": _normalizer(),
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": split_pattern(vocabulary)},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": _template(),
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {token: index for index, token in enumerate(vocabulary.tokens)},
            "unk_token": "N",
        },
    }


def tokenizer_config(*, max_tokens: int) -> dict[str, Any]:
    """The content of `tokenizer_config.json`; `max_tokens` counts [CLS].

    No `unk_token` is named: it would turn N into a special token, which decoding drops.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        **special_tokens_map(),
    }


def special_tokens_map() -> dict[str, str]:
    """The content of `special_tokens_map.json`."""
    return dict(zip(("pad_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS))


def split_pattern(vocabulary: Vocabulary) -> str:
    """The regular expression that cuts normalised text into tokens.

    The chosen 8-mers are written as a prefix tree: an alternation of 4,096 whole words is tried one by one.
    """
    eights = _prefix_tree(vocabulary.tokens[FIRST_EIGHT:])
    return "|".join([*([eights] if eights else []), "[ACGT]{6}", "[ACGTN]"])


def _prefix_tree(words: Sequence[str]) -> str:
    """A regular expression for sorted words of one length, shared prefixes written once."""
    if not words or not words[0]:
        return ""
    groups = [(letter, [word[1:] for word in group]) for letter, group in groupby(words, key=lambda word: word[0])]
    if len(words[0]) == 1:
        letters = "".join(letter for letter, _ in groups)
        return f"[{letters}]" if len(letters) > 1 else letters
    branches = [letter + _prefix_tree(rest) for letter, rest in groups]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _normalizer() -> dict[str, Any]:
    rules = (("a", "A"), ("c", "C"), ("g", "G"), ("[tuU]", "T"), ("[^ACGT]", "N"))
    steps = [{"type": "Replace", "pattern": {"Regex": pattern}, "content": letter} for pattern, letter in rules]
    return {"type": "Sequence", "normalizers": steps}


def _added_token(token: str, index: int) -> dict[str, Any]:
    # White space beside a [MASK] belongs to the way it was typed; it would become N otherwise.
    strip = index == MASK
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": strip,
        "rstrip": strip,
        "normalized": False,
        "special": True,
    }


def _template() -> dict[str, Any]:
    def special(index: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": SPECIAL_TOKENS[index], "type_id": 0}}

    first, second = ({"Sequence": {"id": name, "type_id": number}} for number, name in enumerate("AB"))
    known = {
        SPECIAL_TOKENS[i]: {"id": SPECIAL_TOKENS[i], "ids": [i], "tokens": [SPECIAL_TOKENS[i]]} for i in (CLS, SEP)
    }
    return {
        "type": "TemplateProcessing",
        "single": [special(CLS), first],
        "pair": [special(CLS), first, special(SEP), second],
        "special_tokens": known,
    }


def vocabulary_of(content: dict[str, Any]) -> Vocabulary:
    """The vocabulary behind a `tokenizer.json`: the inverse of `tokenizer_json`.

    What `save_pretrained` adds (how to truncate and pad) may differ, what makes ids may not.

    Raises:
        ValueError: for a tokenizer with other tokens, or one that cuts text in another way.
    """
    model = content.get("model")
    ids = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(ids, dict):
        raise ValueError("it has no table of tokens")
    eights = sorted(token for token in ids if len(token) == 8 and not set(token) - set(BASES))
    vocabulary = Vocabulary(np.array([kmer_code(text) for text in eights], np.uint16))
    expected = tokenizer_json(vocabulary)
    if ids != expected["model"]["vocab"]:
        odd = next((token for token in ids if expected["model"]["vocab"].get(token) != ids[token]), None)
        raise ValueError(f"token {odd!r} is none of ours, or has another id" if odd else "it lacks tokens of ours")
    if more := [token["content"] for token in content.get("added_tokens", ()) if token["content"] not in ids]:
        raise ValueError(f"token {more[0]!r} was added: our networks have no row for it")
    for part in ("normalizer", "pre_tokenizer"):
        if content.get(part) != expected[part]:
            raise ValueError(f"its {part} is not the one of our tokenizer: ids would differ")
    return vocabulary
