"""What a search keeps of each block from one pass to the next."""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np

from plantgfm.retrieval.targets import Block


class Spilled:
    """An array a block, kept in a file from one pass to the next."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._at: dict[tuple[int, int], tuple[int, tuple[int, ...], np.dtype]] = {}  # where in the file, and what

    def put(self, block: Block, array: np.ndarray) -> None:
        """Keep the array of a block."""
        self._at[_key(block)] = self._file.seek(0, 2), array.shape, array.dtype
        self._file.write(array.tobytes())

    def of(self, block: Block) -> np.ndarray | None:
        """What was kept of a block; None where nothing was."""
        if _key(block) not in self._at:
            return None
        start, shape, dtype = self._at[_key(block)]
        self._file.seek(start)
        return np.frombuffer(self._file.read(dtype.itemsize * math.prod(shape)), dtype).reshape(shape)


def _key(block: Block) -> tuple[int, int]:
    return int(block.rows[0]), block.rows.size  # some of the windows of a block are no such block
