"""Completeness without BUSCO: how many of a user's single-copy genes an assembly holds, by their k-mers.

A proxy: introns break a few k-mers and divergence breaks more, so the genes should be of the species or a near
relative; copies are not told apart. Genes are compared by FracMinHash hashes, with k and scaled of the contamination
stage, so that no further pass over the assembly is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import CompletenessConfig, ContaminationConfig
from plantgfm.formats.busco import GeneCompleteness
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.sketch import distinct, fraction

TOOL = "k-mer containment"
MIN_HASHES = 5
"""A gene with fewer is too short to be looked for, and is left out of the count."""


class MarkerSearch:
    """The single-copy genes (CDS, one a record) of a FASTA file, looked for among the records of an assembly."""

    def __init__(self, path: Path, sketching: ContaminationConfig):
        """Read the genes; k and scaled are those of the contamination stage.

        Raises:
            FormatError: where no gene is long enough to be looked for.
        """
        self._path, self._least = path, sketching.min_shared_hashes
        sketch = {"k": sketching.k, "scaled": sketching.scaled}
        genes = [distinct([fraction(record.codes, **sketch)[0]]) for record in read_fasta(path)]
        self._genes = [gene for gene in genes if gene.size >= MIN_HASHES]
        if not self._genes:
            text = f"about {MIN_HASHES * sketching.scaled:,} bp are needed"
            raise FormatError(path, f"holds no gene that is long enough to be looked for: {text}")
        self._all = distinct(self._genes)
        self._found = np.zeros(self._all.size, dtype=bool)

    def add(self, hashes: UInt64[np.ndarray, "hashes"]) -> None:
        """Look among the hashes of one record, in any order."""
        at = np.minimum(np.searchsorted(self._all, hashes), self._all.size - 1)
        self._found[at[self._all[at] == hashes]] = True

    def count(self, config: CompletenessConfig) -> GeneCompleteness:
        """How many genes the records hold that were looked among.

        A gene is complete where at least `min_marker_containment` of its hashes are found, fragmented where at least
        `min_shared_hashes` are, else missing.
        """
        counts = {"single": 0, "fragmented": 0, "missing": 0}
        for gene in self._genes:
            found = int(self._found[np.searchsorted(self._all, gene)].sum())
            if found >= config.min_marker_containment * gene.size:
                counts["single"] += 1
            else:
                counts["fragmented" if found >= self._least else "missing"] += 1
        markers = len(self._genes)
        shares = {name: count / markers for name, count in counts.items()}
        return GeneCompleteness(TOOL, self._path.name, "", markers, duplicated=0.0, **shares)
