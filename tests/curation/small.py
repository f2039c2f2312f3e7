"""A small input with one record for each way that a story can go, curated once."""

import numpy as np

from plantgfm.curation.config import CurationConfig
from plantgfm.curation.curate import curate
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.passport import PassportRecord, write_passport
from plantgfm.formats.tables import write_tsv
from plantgfm.sequence import reverse_complement
from tests.curation.planted import mutated, random_codes, write_assembly

CHROMOSOMES = [random_codes(60_000, 171), random_codes(40_000, 172)]
FOREIGN = random_codes(10_000, 173)
OTHER = random_codes(50_000, 180)


def make_world(folder):
    """The rows of a manifest: duplicates, a twin, a masked interval, a cut record, a verified and a wrong label."""
    tail = random_codes(5_000, 174)
    tail[-50:] = 4
    chimera = np.concatenate([random_codes(20_000, 176), FOREIGN[:3_000], random_codes(20_000, 177)])
    first = [
        ("chr1 length=60001", CHROMOSOMES[0]),
        ("chr2", CHROMOSOMES[1]),
        ("cut length=9000", tail),
        ("twin", reverse_complement(CHROMOSOMES[1])),
        ("chimera", chimera),
        ("short", random_codes(500, 178)),
    ]
    # The twin and the chimera of the first are no part of it: so much more of the first is known.
    again = [("c1", mutated(CHROMOSOMES[0], 0.998, 1)), ("c2", mutated(CHROMOSOMES[1], 0.998, 2))]
    again.append(("c3", mutated(chimera, 0.998, 3)))
    cultivar = mutated(OTHER, 0.98, 5)
    tertius = {"species": "Tertius tres", "accession": "A1", "expected_size_bp": 50_000}
    rows = [
        write_assembly(folder, "first", first),
        write_assembly(folder, "again", again),
        write_assembly(folder, "other", [("chr1", OTHER)], cultivar="Tres", **tertius),
        write_assembly(folder, "wrong", [("w", cultivar)], **tertius),
    ]
    write_fasta(folder / "a1.fa", [("a1", mutated(OTHER, 0.999, 6))])
    write_fasta(folder / "a2.fa", [("a2", mutated(cultivar, 0.999, 7))])
    claims = [PassportRecord(n, "X", "Tertius", "tres", refsketch=folder / f"{n.lower()}.fa") for n in ("A1", "A2")]
    write_passport(folder / "passport.tsv", claims)
    write_fasta(folder / "foreign.fa", [("f", FOREIGN)])
    table = [{"name": "Some bacterium", "kind": "foreign", "path": "foreign.fa"}]
    write_tsv(folder / "references.tsv", table, columns=["name", "kind", "path"])
    return rows


def curate_world(folder, rows, config=None):
    return curate(
        rows,
        config or CurationConfig(),
        store=folder / "store",
        passport=folder / "passport.tsv",
        references=folder / "references.tsv",
    )
