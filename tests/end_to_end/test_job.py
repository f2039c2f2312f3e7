"""The main job on a small world: what it leaves, what a second call does, what later commands make of it."""

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from plantgfm.cli import commands
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.export.bundle import load_bundle
from plantgfm.model.config import AttentionKind, Remat
from plantgfm.tokenization.vocabulary import FIRST_BASE
from plantgfm.training.metrics import METRICS_FILE, read_metrics
from plantgfm.training.run_folder import RunMismatch, read_json, write_json
from plantgfm.wiring.runs import open_run_folder, params_of
from plantgfm.wiring.scores import evaluate_run
from plantgfm.wiring.training import (
    SETTINGS_FILE,
    VOCABULARY_FILE,
    run_training,
    starting_point,
    watcher,
    with_profiles,
)
from tests.conftest import SMALL, composed
from tests.docs.snippets import PAGES, perform, snippets


def invoke(*arguments):
    result = CliRunner().invoke(commands, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="session")
def evaluated(trained):
    folder, outcome, _ = trained
    return evaluate_run(outcome.run_dir)


def test_the_run_folder_holds_what_later_commands_need(trained):
    _, outcome, lines = trained
    names = {path.name for path in outcome.run_dir.iterdir()}
    assert {"run.json", "settings.json", "vocabulary.json", "ledger", "metrics.jsonl", "checkpoints"} <= names
    assert any(line.startswith("validation: ") and "dropped for a near-duplicate" in line for line in lines)
    assert lines[0].startswith("corpus ") and "9 species" in lines[0]
    assert outcome.result.step == 240 and not outcome.result.interrupted


def test_the_report_was_drawn_while_it_trained(trained):
    _, outcome, lines = trained
    html = (outcome.run_dir / "report.html").read_text()
    for caption in ("Gradient norm by block", "Masked loss outside and inside repeats", "Masked loss per species"):
        assert caption in html
    # Before the result was there, of the last evaluation; use of the vocabulary would have had to be measured.
    assert "240 of 240" in html and "Its use has not been measured yet" in html and "Not evaluated yet" in html
    assert "training goes on" not in "".join(lines) and outcome.result.seconds["report"] > 0
    (call,) = json.loads((outcome.run_dir / "throughput.json").read_text())["calls"]
    assert call["first_step_seconds"] > call["compile_seconds"] > 0


def test_every_planted_defect_is_caught_and_every_clean_record_kept(trained):
    folder, outcome, _ = trained
    ledger = outcome.curation.ledger
    planted = [line.split("\t") for line in (folder / "world/truth/defects.tsv").read_text().splitlines()[1:]]
    assert len({kind for _, _, kind, _, _ in planted}) >= 8
    bad = set()
    for assembly, record, kind, stage, reason in planted:
        told = [d for d in ledger.decisions if d.assembly == assembly and (not record or d.record == record)]
        if reason == "accepted":
            assert any(d.outcome.value == "kept" for d in told), kind
            continue
        bad.add((assembly, record))
        assert any((d.stage, d.outcome.value) == (stage, "rejected") for d in told), (kind, told)
    rejected = [d for d in ledger.decisions if d.outcome.value == "rejected"]
    innocent = [d for d in rejected if (d.assembly, d.record) not in bad and (d.assembly, "") not in bad]
    assert not innocent, innocent


def test_the_held_out_species_is_in_no_corpus(trained):
    folder, outcome, _ = trained
    held_out = (folder / "world/held_out.csv").read_text().splitlines()[1].split(",")[0]
    assert held_out not in outcome.corpus.species and len(outcome.corpus.species) == 9


def test_the_loss_falls_and_species_are_reported(trained):
    _, outcome, _ = trained
    rows = [json.loads(line) for line in (outcome.run_dir / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in rows if "masked_nats_per_token" in row]
    masked = np.array([row["masked_nats_per_token"] for row in logged])
    assert masked[-6:].mean() < masked[:6].mean()
    assert {f"species/{name}" for name in outcome.corpus.species} <= set().union(*logged)
    assert {row["species_seen"] for row in logged} <= {8.0, 9.0}  # of 9, and 8 is what every step must see
    assert {"repeats/inside", "repeats/outside", "gradient_norm/layers/1", "gradient_norm/kmer"} <= set(logged[-1])
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})


def test_a_second_call_reuses_everything(trained):
    folder, outcome, _ = trained
    lines: list[str] = []
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}", "run.name=small")
    again = run_training(composed(*SMALL, *where), write=lines.append)
    assert again.curation.reused > 0 and "is done: nothing is left to train" in lines[-1]
    assert again.corpus.fingerprint == outcome.corpus.fingerprint
    assert again.vocabulary == outcome.vocabulary


def test_other_settings_under_the_same_name_are_refused_by_name(trained):
    folder, _, _ = trained
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}", "run.name=small")
    with pytest.raises(RunMismatch, match=r"run\.steps: 240 there, 241 here"):
        run_training(composed(*SMALL, *where, "run.steps=241"), write=print)


def test_nothing_to_score_at_the_end_is_said_before_training(trained):
    folder, _, _ = trained
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}")
    with pytest.raises(ValueError, match="split test holds no window pair"):
        run_training(composed(*SMALL, *where, "run.name=unscored", "corpus.layout.test_fraction=0"), write=print)
    assert not (folder / "unscored").exists()


def test_the_evaluation_stands_beside_its_baselines(trained, evaluated):
    _, outcome, _ = trained
    summary = evaluated.summary
    assert 0 < summary["masked_bits_per_base"] < 2.3
    for name in ("unigram_species_bits_per_base", "markov_pooled_bits_per_base", "next_region_gain_over_unigram"):
        assert summary[f"{name}_low"] - 1e-9 <= summary[name] <= summary[f"{name}_high"] + 1e-9
    species = {row["group"] for row in evaluated.select(kind="species", metric="masked_bits_per_base")}
    assert species <= set(outcome.corpus.species) and len(species) >= 5
    again = evaluate_run(outcome.run_dir)
    assert again.summary == summary


def test_what_is_kept_of_a_run_draws_its_report_again_and_names_no_machine(trained, evaluated, tmp_path):
    folder, outcome, _ = trained
    kept = tmp_path / "results" / "small"
    assert invoke("report", outcome.run_dir, "--keep", kept) == f"kept: {kept / 'report.md'}\n"
    before = {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert sum(map(len, before.values())) < 300_000
    stored = json.loads(before[Path("run.json")])
    assert stored["identity"]["corpus"] == outcome.corpus.fingerprint == stored["corpus"]["fingerprint"]
    assert stored["settings"]["corpus"]["path"] == "world" and str(folder) not in before[Path("run.json")].decode()
    report = before[Path("report.md")].decode()
    assert f"{evaluated.summary['masked_bits_per_base']:.4f}" in report and "best Markov, pooled" in report
    assert "| run.steps | 240 |" in report and "Throughput of each call" in report
    assert str(folder).encode() not in gzip.decompress(before[Path("measured.json.gz")])
    for path in [kept / "report.md", *kept.glob("report_figures/*.png")]:
        path.unlink()
    assert invoke("report", kept) == f"report: {kept / 'report.md'}\n"  # with neither run nor corpus
    assert before == {path.relative_to(kept): path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    invoke("report", kept, "--out", tmp_path / "page.html")
    assert "Loss per objective" in (tmp_path / "page.html").read_text()
    invoke("report", outcome.run_dir, "--keep", kept)  # the same run again


def test_step_0_is_the_network_before_training(trained, evaluated):
    _, outcome, _ = trained
    run = open_run_folder(outcome.run_dir)
    params, known = params_of(run, step=0)
    assert known["step"] == 0
    trained_params, _ = params_of(run)
    assert not np.allclose(params["masked_head"]["dense"]["kernel"], trained_params["masked_head"]["dense"]["kernel"])


def test_export_embed_retrieve_report(trained, evaluated):
    folder, outcome, _ = trained
    run, world = outcome.run_dir, folder / "world"
    invoke("export", run, "--out", run / "bundle")
    invoke("export", run, "--out", run / "untrained", "--untrained")
    assert load_bundle(run / "bundle").lineage["step"] == 240
    assert load_bundle(run / "untrained").lineage["step"] == 0
    invoke("export", run, "--format", "huggingface", "--out", run / "huggingface")
    invoke("import", run / "huggingface", "--out", run / "again")
    assert load_bundle(run / "again").fingerprint == load_bundle(run / "bundle").fingerprint
    vectors = run / "held_out.parquet"
    said = invoke("embed", run / "bundle", "--manifest", world / "held_out.csv", "--out", vectors)
    assert re.search(r"'windows': \d+", said)
    assert "reused" in invoke("embed", run / "bundle", "--manifest", world / "held_out.csv", "--out", vectors)
    assert pq.read_metadata(vectors).num_rows > 50
    relative = next(line.split("\t")[1] for line in (world / "truth/orthologs.tsv").read_text().splitlines()[1:])
    slug = relative.lower().replace(" ", "_")
    target = (world / "held_out.csv").read_text().splitlines()[1].split(",")[5]
    said = invoke(
        "retrieve", run / "bundle", "--genome", world / f"genomes/{slug}.fa.gz",
        "--annotation", world / f"annotation/{slug}.gff3.gz", "--vectors", vectors, "--out", run / "retrieval",
        "--truth", world / "truth/orthologs.tsv", "--target", world / target, "--untrained", run / "untrained",
    )  # fmt: skip
    assert "chance" in said and "11-mer containment" in said and "untrained model" in said
    said = invoke("report", run)
    html = (run / "report.html").read_text()
    for heading in ("Corpus", "Funnel", "Vocabulary", "Training", "Held-out regions", "Retrieval"):
        assert f">{heading}<" in html
    assert html.count("data:image/png;base64,") >= 6 and "http" not in re.sub(
        r"data:image/png;base64,[^\"]*|https?://www\.w3\.org\S*", "", html
    )
    assert "masked bits per base" in said


def test_a_mesh_of_devices_trains_to_the_same_losses(trained, quick_compilation):
    folder, outcome, _ = trained
    where = (f"run.folder={folder}", f"corpus.path={folder / 'world'}", "run.name=many", "mesh.data=8")
    # Up to step 10 the rates are those of the run on one device, whose decay is as far off.
    config = composed(*SMALL, *where, "run.steps=12", "optimizer.decay_fraction=0.1")
    many = run_training(config, write=lambda line: None)
    one, other = (
        next(row for row in read_metrics(run_dir / METRICS_FILE) if row["step"] == 10)
        for run_dir in (outcome.run_dir, many.run_dir)
    )
    assert one["learning_rate"] == other["learning_rate"]
    for name in ("loss", "masked_nats_per_token", "next_nats_per_token"):
        np.testing.assert_allclose(other[name], one[name], rtol=1e-4)
    validation = watcher(config, many.network, corpus=many.corpus, vocabulary=many.vocabulary)
    for name, value in validation.run(params_of(open_run_folder(many.run_dir))[0]).items():  # on one device
        np.testing.assert_allclose(many.result.evaluations[f"validation/{name}"], value, rtol=1e-4, atol=1e-5)


def test_the_blocks_of_the_pages_that_need_a_run_run(trained, tmp_path, monkeypatch):
    _, outcome, _ = trained
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(outcome.run_dir)
    monkeypatch.chdir(tmp_path)
    blocks = [one for page in PAGES for one in snippets(page) if one.how == "trained"]
    assert len(blocks) >= 3
    for one in blocks:
        perform(one, {})


@pytest.fixture(scope="module")
def run(trained):
    """The run, opened: what a network starts from, and how its folder is read."""
    return open_run_folder(trained[1].run_dir)


def test_profiles_are_the_unigrams_of_windows_that_the_evaluation_counts(run):
    start = starting_point(run.config, run.corpus(), run.vocabulary)
    unigram = fit_unigram(
        run.corpus(),
        run.vocabulary,
        shrinkages=run.config.evaluation.shrinkages,
        window_bp=run.config.sampler.window_bp,
    )
    np.testing.assert_allclose(np.exp(start["log_unigram"])[FIRST_BASE:], unigram.pooled[FIRST_BASE:], rtol=1e-4)
    np.testing.assert_allclose(
        np.exp(start["log_profiles"])[:, FIRST_BASE:], unigram.species[:, FIRST_BASE:], rtol=1e-4
    )
    assert np.all(np.isfinite(start["log_profiles"]))


def test_settings_of_the_evaluation_move_no_start(run):
    config = replace(run.config, evaluation=replace(run.config.evaluation, shrinkages=[1e9]))
    for name, values in starting_point(run.config, run.corpus(), run.vocabulary).items():
        np.testing.assert_array_equal(values, starting_point(config, run.corpus(), run.vocabulary)[name])


def test_a_run_has_a_profile_for_each_species_and_keeps_it(run):
    n_species = len(run.corpus().species)
    assert run.config.model.profiles == n_species
    assert with_profiles(run.config, run.corpus()) is run.config
    fresh, trained = (params_of(run, step=step)[0]["next_region"]["profiles"] for step in (0, None))
    assert fresh.shape[0] == n_species
    np.testing.assert_array_equal(fresh, trained)


def test_one_profile_is_the_unigram_and_other_numbers_are_refused(run):
    def point(profiles: int):
        config = replace(run.config, model=replace(run.config.model, profiles=profiles))
        return starting_point(config, run.corpus(), run.vocabulary)

    np.testing.assert_array_equal(point(1)["log_profiles"], point(1)["log_unigram"][None])
    n_species = len(run.corpus().species)
    with pytest.raises(ValueError, match=f"model.profiles={n_species + 1}, but the corpus has {n_species} species"):
        point(n_species + 1)


def test_a_run_says_how_attention_is_computed_and_is_read_as_suits_who_opens_it(run, trained, tmp_path):
    told = "attention: 1 full layer whole by XLA (cuDNN needs a CUDA GPU, this is cpu); 1 sliding layer in blocks of 16"
    assert [line for line in trained[2] if line.startswith(told)]
    settings = read_json(run.path / SETTINGS_FILE)
    settings["config"]["model"] |= {"attention": "cudnn", "compute_type": "bfloat16", "remat": "full"}
    write_json(tmp_path / SETTINGS_FILE, settings)
    shutil.copy(run.path / VOCABULARY_FILE, tmp_path)
    opened = open_run_folder(tmp_path)
    assert opened.config.model.attention is AttentionKind.CUDNN
    assert opened.network.config.attention is AttentionKind.AUTO and opened.network.config.remat is Remat.NONE
