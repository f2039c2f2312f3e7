"""`make bench`: speed as ratios within one run, each beside its bar."""

from __future__ import annotations

import sys

from plantgfm.bench import (
    allocator,
    approximate,
    curation,
    depth,
    embedding,
    exact,
    retrieval,
    sampling,
    tokenizer,
    train_step,
    vectors,
)
from plantgfm.report.table import Table

_PARTS = {
    "tokenizer": tokenizer.run,
    "sampling": sampling.run,
    "curation": curation.run,
    "curation_scale": curation.run_scale,
    "train_step": train_step.run,
    "embedding": embedding.run,
    "memory": vectors.run_memory,
    "storage": vectors.run_storage,
    "depth": depth.run,
    "retrieval": retrieval.run,
    "exact": exact.run,
    "approximate": approximate.run,
    "allocator": allocator.run,
}


def main(names: list[str]) -> int:
    """Run the named parts, all of them by default, and print one table; 2 for an unknown name."""
    unknown = [name for name in names if name not in _PARTS]
    if unknown:
        print(f"error: no bench {unknown[0]!r}; there are {', '.join(_PARTS)}", file=sys.stderr)
        return 2
    rows = [row for name in names or _PARTS for row in _PARTS[name]()]
    cells = [(row["name"], row["value"], row["unit"], row["bar"]) for row in rows]
    print(Table("Speed", ("what", "value", "unit", "bar"), cells, formats={"value": ",.2f", "bar": ",.2f"}).to_text())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as wrong:  # a manifest that can't be read
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2)
