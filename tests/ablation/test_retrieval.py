"""Ablations of retrieval: arms from a file, compared query by query, and what is refused."""

import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.ablation import retrieval as module
from plantgfm.ablation.retrieval import ARM_COLUMNS, Arm, Measured, arm_rows, read_arms
from plantgfm.embedding.config import Pooling
from plantgfm.formats.fasta import write_fasta
from plantgfm.formats.tables import read_tsv
from plantgfm.retrieval.config import RetrievalConfig
from plantgfm.retrieval.evaluate import MethodScore, RetrievalEvaluation
from tests.fixtures import random_codes, record, write_small_bundle

QUICK = "common: [embedding.window_bp=120, retrieval.resamples=20, retrieval.permutations=2]\n"


def arms_file(folder, text):
    path = folder / "arms.yaml"
    path.write_text(text)
    return path


def test_arms_are_settings_over_what_is_common(tmp_path):
    text = "common: [retrieval.top_k=9]\narms:\n  base: []\n  cls: [embedding.pooling=CLS, retrieval.components=3]\n"
    base, cls = read_arms(arms_file(tmp_path, text))
    assert (base.name, base.retrieval.top_k, base.retrieval.components) == ("base", 9, 1)
    assert cls.embedding.pooling is Pooling.CLS and cls.retrieval.components == 3 and cls.retrieval.top_k == 9
    assert cls.changes == ("embedding.pooling=CLS", "retrieval.components=3")
    assert base.retrieval.null_queries == 0 and base.retrieval.tools == "none"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("arms: {a: []}\n", "needs `arms`"),
        ("arms: {a: [], b: 3}\n", "needs `arms`"),
        ("- a\n", "needs `arms`"),
        ("arms: {a: [\n", "can't be read as YAML"),
        ("arms: {a: [], b: [model.depth=3]}\n", "arm b: 'model.depth=3' is no embedding.KEY"),
        ("arms: {a: [], b: [retrieval.nope=3]}\n", "arm b: .*nope"),
        ("arms: {a: [], b: [retrieval.components=-1]}\n", "arm b: .*retrieval.components=-1 is negative"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        read_arms(arms_file(tmp_path, text))


def test_the_command_embeds_once_for_arms_that_share_it_and_writes_their_differences(tmp_path, monkeypatch):
    bundle, target = write_small_bundle(tmp_path / "bundle"), random_codes(4_000, seed=2)
    write_fasta(tmp_path / "t.fa", [record("chr1", target)])
    pieces = {f"q{i}": (start, target[start : start + 150]) for i, start in enumerate(range(200, 3_800, 600))}
    write_fasta(tmp_path / "q.fa", [record(name, codes) for name, (_, codes) in pieces.items()])
    rows = [f"{name}\tchr1\t{start}\t{start + 150}\n" for name, (start, _) in pieces.items()]
    (tmp_path / "truth.tsv").write_text("gene_id\tchr\tstart\tend\n" + "".join(rows))
    arms = arms_file(
        tmp_path, QUICK + "arms:\n  base: []\n  r 3: [retrieval.components=3]\n  cls: [embedding.pooling=CLS]\n"
    )
    made = []
    real = module.embed_files
    monkeypatch.setattr(module, "embed_files", lambda *args, **kw: made.append(real(*args, **kw)) or made[-1])
    asked = [str(arms), str(bundle), "--target", str(tmp_path / "t.fa"), "--queries", str(tmp_path / "q.fa")]
    asked += ["--truth", str(tmp_path / "truth.tsv"), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(module.main, asked)
    assert told.exit_code == 0, told.output
    assert [one.get("reused") for one in made] == [None, 1, None]
    rows = read_tsv(tmp_path / "out" / "arms.tsv", required=ARM_COLUMNS)
    assert {row["arm"] for row in rows} == {"base", "r 3", "cls"}
    kmers = {row["arm"]: row for row in rows if row["method"] == "6-mer cosine"}
    assert kmers["base"]["difference"] == "" and float(kmers["cls"]["difference"]) == 0  # no model has part in it
    assert kmers["cls"]["shared_queries"] == "6" and float(kmers["cls"]["mrr"]) == 1.0
    assert "Arms by model" in told.output and "Arms by untrained model" not in told.output


def measured(name, queries, ranks):
    score = MethodScore("model", len(queries), *({1: 0.0, 10: 0.0, 50: 0.0} for _ in range(3)), 0.0, 0.0, 0.0)
    evaluation = RetrievalEvaluation([score], {"model": np.array([ranks])}, {}, {}, 0, 50, queries=queries)
    return Measured(Arm(name, (), retrieval=RetrievalConfig(top_k=2)), 9, evaluation, 1.0)


def test_differences_are_over_the_queries_that_both_arms_have():
    base = measured("base", ["a", "b", "c", "d", "e", "f"], [1, 1, 1, 1, 1, 2])
    other = measured("other", ["f", "e", "d", "c", "b", "z"], [1, 2, 2, 2, 3, 1])
    few = measured("few", ["a", "z"], [1, 1])
    rows = arm_rows([base, other, few], resamples=50)
    assert rows[1]["shared_queries"] == 5
    assert rows[1]["difference"] == pytest.approx((0.5 - 0.5 * 3 - 2 / 3) / 5, abs=1e-4)
    assert rows[1]["difference_low"] <= rows[1]["difference"] <= rows[1]["difference_high"]
    assert rows[2]["difference"] is None and rows[2]["shared_queries"] == 1
    assert rows[0]["recall_at_top_k"] == 1.0 and rows[1]["recall_at_top_k"] == round(5 / 6, 4)
