"""Token ids of ESM-format DNA models (AgroNT, Nucleotide Transformer v1), as `EsmTokenizer` of transformers gives them.

[CLS] first, then 6-mers from the left inside each stretch without N, what remains of it as single bases, and every N
for itself; nothing behind. That is the segmentation of our vocabulary without 8-mers, so a table of ids does the rest.

Two readings differ, on purpose: lower case is a base here (there a whole run is one `<unk>`), and an IUPAC ambiguity
code is N here (there a run of them is one `<unk>`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8

from plantgfm.tokenization.encode import encode
from plantgfm.tokenization.vocabulary import N_SPECIAL, Vocabulary


@dataclass(frozen=True, eq=False)
class EsmTokens:
    """The ids of one model's `vocab.txt`."""

    cls: int
    pad: int
    mask: int
    table: Int32[np.ndarray, "V"]  # their id of each of our ids, from N on; special tokens have none (-1)

    def encode(self, codes: UInt8[np.ndarray, "P"]) -> Int32[np.ndarray, "L"]:
        """Ids of base codes, [CLS] first."""
        ids = self.table[encode(PLAIN, codes)]
        return np.concatenate([np.array([self.cls], np.int32), ids])

    def token_bp(self, ids: Int32[np.ndarray, "L"]) -> Int32[np.ndarray, "L"]:
        """Bases that each id covers, 0 for special tokens and those that sequence never has."""
        widths = np.zeros(int(max(self.table.max(), ids.max(initial=0))) + 1, np.int32)
        widths[self.table[N_SPECIAL:]] = PLAIN.token_bp[N_SPECIAL:]
        return widths[ids]


PLAIN = Vocabulary(np.zeros(0, np.uint16))


def esm_tokens(vocabulary: list[str], *, rows: int) -> EsmTokens:
    """The ids of the lines of a `vocab.txt`.

    Args:
        vocabulary: its lines; some files name more tokens than the model has rows for.
        rows: of the model's embedding.

    Raises:
        ValueError: when a token that sequence needs is not there, or lies beyond the rows.
    """
    index = {token: number for number, token in enumerate(vocabulary)}
    needed = ["<cls>", "<pad>", "<mask>", *PLAIN.tokens[N_SPECIAL:]]
    for token in needed:
        if index.get(token, rows) >= rows:
            where = f"has id {index[token]}, beyond the {rows} rows of the model" if token in index else "is missing"
            raise ValueError(f"token {token!r} {where}: this is no vocabulary of 6-mers, single bases and N")
    table = np.array([-1] * N_SPECIAL + [index[token] for token in needed[3:]], np.int32)
    return EsmTokens(index["<cls>"], index["<pad>"], index["<mask>"], table)
