"""Sketches of references: hashes alone, no sequence, so that a few genomes' worth of them is a small file.

`data/plastids.npz` is shipped; `data/README.md` says what it was made of. To make it again, or one like it:

    python -m plantgfm.curation.shipped MANIFEST.csv OUT.npz
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt64

from plantgfm.curation.config import ContaminationConfig
from plantgfm.formats.errors import FormatError
from plantgfm.formats.fasta import read_fasta
from plantgfm.formats.manifest import read_manifest
from plantgfm.formats.streams import atomic_binary
from plantgfm.schema import Assembly
from plantgfm.sketch import distinct, fraction

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "plastids.npz"
SKETCH_SUFFIX = ".npz"


def write_sketches(path: Path, assemblies: list[Assembly], *, k: int, scaled: int) -> None:
    """Write the FracMinHash of assemblies, each under its species and assembly name; a hash lies in the first alone."""
    names, hashes, owner = [], [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.uint16)]
    for number, one in enumerate(sorted(assemblies, key=lambda one: one.key)):
        found = distinct([fraction(record.codes, k=k, scaled=scaled)[0] for record in read_fasta(one.fasta)])
        names.append(f"{one.species} {one.assembly}")
        hashes.append(found)
        owner.append(np.full(found.size, number, dtype=np.uint16))
    unique, first = np.unique(np.concatenate(hashes), return_index=True)
    arrays = {"names": np.array(names), "hashes": unique, "owner": np.concatenate(owner)[first]}
    with atomic_binary(path) as stream:
        np.savez(stream, k=np.array(k), scaled=np.array(scaled), **arrays)


def read_sketches(path: Path, *, k: int, scaled: int) -> list[tuple[str, UInt64[np.ndarray, "hashes"]]]:
    """Name and sorted hashes of each sketch of a file, as `fraction` of that k and scaled gives them.

    Raises:
        FormatError: for a file that is damaged, or holds sketches of another k, or fewer hashes than are asked for.
    """
    try:
        with path.open("rb") as raw, np.load(raw) as stored:
            names, hashes, owner = (stored[name] for name in ("names", "hashes", "owner"))
            made_of, kept = int(stored["k"]), int(stored["scaled"])
    except (BadZipFile, zlib.error, EOFError, ValueError, KeyError) as error:
        raise FormatError(path, f"is no file of sketches, or a damaged one ({error})") from None
    if made_of != k or kept > scaled:
        asked = f"contamination.k = {k} and contamination.scaled = {scaled} ask for others"
        remedy = "set contamination.shipped_sketches=false, and name organelles among the references"
        raise FormatError(path, f"holds sketches of k = {made_of}, scaled = {kept}; {asked}: {remedy}")
    few = hashes < np.uint64((1 << 64) // scaled)
    return [(str(name), hashes[few & (owner == number)]) for number, name in enumerate(names)]


def main(arguments: list[str]) -> None:
    """Write the sketches of a manifest's assemblies, with the hashes that the settings ask for."""
    if len(arguments) != 2:
        raise SystemExit("usage: python -m plantgfm.curation.shipped MANIFEST.csv OUT.npz")
    settings = ContaminationConfig()
    write_sketches(Path(arguments[1]), read_manifest(Path(arguments[0])), k=settings.k, scaled=settings.scaled)


if __name__ == "__main__":
    main(sys.argv[1:])
