"""What tests of a bundle share: one that is not trained, a small search with it, and the report of a folder."""

import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.formats.fasta import write_fasta
from plantgfm.wiring.downstream import embed_files
from plantgfm.wiring.retrieval import RetrievalInputs
from tests.fixtures import random_codes, record, write_small_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("wiring") / "bundle")


@pytest.fixture(scope="session")
def search(bundle, tmp_path_factory):
    """A target with its vectors, six noisy pieces of it as queries, where they come from, and an untrained bundle."""
    folder = tmp_path_factory.mktemp("search")
    target = random_codes(6_000, seed=2)
    write_fasta(folder / "target.fa", [record("chr1", target)])
    config = EmbeddingConfig(window_bp=120, batch_windows=4)
    embed_files(bundle, folder / "vectors.parquet", fasta=folder / "target.fa", manifest=None, config=config)
    pieces, rows = [], ["query\tchr\tstart\tend\tstrand\tidentity"]
    for number, start in enumerate(range(300, 5_700, 900)):
        piece = target[start : start + 200].copy()
        piece[::9] = (piece[::9] + 1) % 4
        pieces.append(record(f"q{number}", piece))
        rows.append(f"q{number}\tchr1\t{start}\t{start + 200}\t+\t0.89")
    write_fasta(folder / "queries.fa", pieces)
    (folder / "truth.tsv").write_text("\n".join(rows) + "\n")
    write_small_bundle(folder / "untrained", seed=1)
    return RetrievalInputs(
        vectors=folder / "vectors.parquet",
        queries=folder / "queries.fa",
        truth=folder / "truth.tsv",
        target=(folder / "target.fa",),
        untrained=folder / "untrained",
    )


def report_of(folder, out):
    told = CliRunner().invoke(commands, ["report", str(folder), "--out", str(out)])
    assert told.exit_code == 0, told.output
    return out.read_text()
