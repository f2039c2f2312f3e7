"""Settings: every group composes, checks run, overrides are typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plantgfm.config import COMPOSITION_ERRORS, CorpusKind, explain_composition, settings
from plantgfm.curation.config import CurationConfig
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.identity import plain, restore
from plantgfm.training.run_folder import differences
from plantgfm.wiring.training import identity_of, run_dir_of, run_training
from tests.conftest import ROOT, composed

GROUPS = sorted((path.parent.name, path.stem) for path in (ROOT / "configs").glob("*/*.yaml"))


def test_every_group_is_there():
    assert {group for group, _ in GROUPS} >= {
        "corpus", "curation", "tokenizer", "sampler", "model", "objective", "optimizer", "mesh", "run",
    }  # fmt: skip


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_every_config_composes_and_opens_with_a_comment(group, name):
    path = ["corpus.path=a/manifest.csv"] if (group, name) == ("corpus", "manifest") else []
    config = composed(f"{group}={name}", *path)
    assert restore(type(config), plain(config)) == config
    assert (ROOT / "configs" / group / f"{name}.yaml").read_text().startswith("#")


OVERLAYS = {path.stem: path for path in (ROOT / "experiments" / "pretraining").glob("*.yaml")}


def overlaid(*names, size="tiny"):
    """Settings of the main job with overlays of `experiments/pretraining`."""
    genomes = ["corpus.path=m.csv", "corpus.more=[p.csv]"] if "real" in names else []
    chosen = f"+experiments/pretraining=[{','.join(names)}]"
    return composed(f"hydra.searchpath=['file://{ROOT}']", chosen, *genomes, f"model={size}")


@pytest.mark.parametrize("size", ["small", "base"])
@pytest.mark.parametrize("genomes", ["real", "clade"])
def test_every_overlay_of_pretraining_composes_at_every_size(genomes, size):
    assert set(OVERLAYS) == {"real", "clade", "gpu"}
    assert all(path.read_text().startswith("# @package _global_\n# ") for path in OVERLAYS.values())
    config = overlaid(genomes, "gpu", size=size)
    assert restore(type(config), plain(config)) == config
    assert (config.sampler.window_tokens, config.run.name) == (1024, f"pretraining_{genomes}")
    assert config.model.d_model == {"small": 384, "base": 512}[size]


def test_the_two_runs_of_pretraining_differ_in_their_genomes_alone():
    real, clade = overlaid("real"), overlaid("clade")
    assert real.corpus.more == ["p.csv"] and real.run.steps == 1200
    found = set(differences(plain(real), plain(clade)))
    assert found == {
        "corpus.kind", "corpus.path", "corpus.more", "corpus.world.genome_size_bp", "run.name",
    }  # fmt: skip


def test_a_manifest_is_asked_for_by_path():
    config = composed("corpus=manifest", "corpus.path=a/b/manifest.csv")
    assert config.corpus.kind is CorpusKind.MANIFEST and config.corpus.path == "a/b/manifest.csv"
    with pytest.raises(ValueError, match=r"give corpus\.path=PATH/manifest\.csv"):
        composed("corpus=manifest", "corpus.path=a/b")


def test_further_manifests_are_asked_for_by_path():
    manifest = ("corpus=manifest", "corpus.path=m.csv")
    assert composed(*manifest, "corpus.more=[p.csv,'a, b/q.tsv']").corpus.more == ["p.csv", "a, b/q.tsv"]
    with pytest.raises(ValueError, match=r"corpus\.more has 'p', which is no manifest"):
        composed(*manifest, "corpus.more=[p]")
    with pytest.raises(ValueError, match=r"corpus\.more=\['p\.csv'\] are further manifests: give corpus=manifest"):
        composed("corpus.more=[p.csv]")


def test_a_window_longer_than_the_model_is_refused():
    with pytest.raises(ValueError, match=r"sampler\.window_tokens=512 is more than model\.max_tokens=256"):
        composed("sampler.window_tokens=512", "model.max_tokens=256")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["tokenizer.kind=BASES"],
            r"windows of 1530 bp .* need sampler\.window_tokens=1531 with tokenizer\.kind=BASES",
        ),
        (["sampler.width_bp=1531"], r"windows of 1531 bp .* need sampler\.window_tokens=257 .*HYBRID, it is 256"),
        (["tokenizer.kind=BPE"], r"tokenizer\.kind=BPE has tokens shorter than 6 bp: state sampler\.width_bp"),
    ],
)
def test_windows_that_do_not_fit_their_slots_are_refused(overrides, said):
    with pytest.raises(ValueError, match=said):
        composed(*overrides)


def test_windows_of_every_kind_that_fit_are_taken():
    assert composed("sampler.width_bp=1000").sampler.window_bp == 1000
    single = composed("tokenizer.kind=BASES", "sampler.window_tokens=201", "sampler.width_bp=200")
    assert single.sampler.window_bp == 200
    merged = composed("tokenizer.kind=BPE", "sampler.window_tokens=256", "sampler.width_bp=1200")
    assert merged.sampler.window_bp == 1200 and composed().sampler.window_bp == 1530


@pytest.mark.parametrize("setting", ["run.power_watts=inf", "optimizer.clip_norm=inf", "run.hosts_wait_s=inf"])
def test_a_setting_that_is_not_finite_is_refused_at_once(setting):
    with pytest.raises(ValueError, match=f"{setting} is not finite"):
        composed(setting)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.seed=99999999999999999999", r"run\.seed=99999999999999999999 is more than 64 bits hold"),
        ("evaluation.two_sided_orders=[3,99999999999999999999]", r"two_sided_orders=\[3, 9+\] is more than 64 bits"),
        ("corpus.world.seed=9223372036854775808", r"corpus\.world\.seed=9223372036854775808 is more than 64 bits"),
        ("evaluation.masked_fraction=0", r"evaluation\.masked_fraction=0\.0 must lie between 0 and 1, as in 0\.15"),
        ("evaluation.seed=-1", r"evaluation\.seed=-1 must be 0 or more"),
        ("model.rope_theta_full=0", r"model\.rope_theta_full is 0\.0, needs a value above 0"),
        ("model.norm_eps=-1", r"model\.norm_eps is -1\.0, needs a value above 0"),
        ("model.init_std=0", r"model\.init_std is 0\.0, needs a value above 0"),
        ("optimizer.epsilon=0", r"epsilon is 0\.0, it must be above 0"),
    ],
)
def test_numbers_that_nothing_can_be_computed_with_are_refused_at_once(override, said):
    with pytest.raises(ValueError, match=said):
        composed(override)


@pytest.mark.parametrize("name", ["validation/nope", "foo/bar"])
def test_a_best_metric_that_nobody_measures_binds_no_folder(name, tmp_path):
    with pytest.raises(
        ValueError, match=f"run.best_metric={name} is measured by nobody: there are validation/masked_bits"
    ):
        run_training(composed(f"run.best_metric={name}", f"run.folder={tmp_path}"), write=print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a/b", ".hidden"])
def test_a_run_name_is_a_plain_folder_name(name):
    with pytest.raises(ValueError, match=r"run\.name"):
        composed(f"run.name='{name}'")


@pytest.mark.parametrize("world", ["world", "null"])
def test_a_negative_seed_of_a_world_is_refused(world):
    with pytest.raises(ValueError, match="seed = -1 is negative"):
        composed(f"corpus.{world}.seed=-1")


def test_settings_from_the_command_line_are_typed_and_nested():
    config = settings(CurationConfig, ["completeness.min_record_bp=77"])
    assert config.completeness.min_record_bp == 77
    with pytest.raises(ValueError, match="min_rekord_bp"):
        settings(CurationConfig, ["completeness.min_rekord_bp=77"])
    with pytest.raises(ValueError, match="could not be converted|not convert"):
        settings(CurationConfig, ["completeness.min_record_bp=many"])


def test_settings_over_given_ones_keep_the_rest():
    base = EvaluationConfig(markov_order=6, max_windows=99)
    changed = settings(base, ["max_windows=12"])
    assert (changed.markov_order, changed.max_windows) == (6, 12)
    assert base.max_windows == 99
    with pytest.raises(ValueError, match="max_windows=0 must be at least 1"):
        settings(base, ["max_windows=0"])


@pytest.mark.parametrize("text", ["seed=[", "seed={a"])
def test_a_value_that_is_no_yaml_is_one_clear_error(text):
    with pytest.raises(ValueError, match="settings here: "):
        settings(EvaluationConfig, [text])


class Printed:
    fingerprint = "f"


def test_identity_leaves_out_place_and_printing_only():
    base = composed()
    moved = composed("run.name=other", "run.folder=/elsewhere", "run.log_every_steps=3", "run.workers=2")
    longer = composed("run.steps=999")
    parts = {"corpus": Printed(), "vocabulary": Printed()}
    assert identity_of(base, **parts) == identity_of(moved, **parts) != identity_of(longer, **parts)
    assert identity_of(base, **parts) != identity_of(composed("model.d_ff=96"), **parts)
    assert run_dir_of(moved) == Path("/elsewhere/other")


@pytest.mark.parametrize("corpus", ["embedded", "null_world"])
def test_a_simulated_world_does_not_lie_where_its_run_will(corpus):
    config = composed(f"corpus={corpus}")
    assert Path(config.corpus.path) != run_dir_of(config)


def test_an_optimizer_that_is_asked_for_keeps_its_own_rate():
    rates = {name: composed(f"optimizer={name}").optimizer.peak_learning_rate for name in ("adamw", "muon")}
    assert rates == {"adamw": 1.4e-3, "muon": 2e-3}
    assert composed("corpus=null_world").optimizer == composed().optimizer == composed("optimizer=muon").optimizer
    manifest = ("corpus=manifest", "corpus.path=m.csv")
    assert composed(*manifest).optimizer.weight_decay == 0.0
    assert composed(*manifest, "optimizer=muon").optimizer == composed("optimizer=muon").optimizer


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.nam=x", ("'run.nam'", "'nam' not in 'RunConfig'", "there is name;")),
        ("modle=small", ("'modle'", "there is model")),
        ("corpus=none", ("'corpus/none'", "there are embedded, manifest, null_world;")),
        ("run.steps=many", ("run.steps=many", "'many'", "Integer")),
        ("corpus.kind=x", ("corpus.kind=x", "[EMBEDDED, NULL, MANIFEST]")),
        ("run.name", ("'run.name'", "missing EQUAL", "KEY=VALUE")),
        ("corpus.path=a=b", ("'corpus.path=a=b'", "mismatched input '='", "quoted")),
        ("run.name='a", ("run.name='a", "it can't be read", "quoted")),
        ("~modle", ("'modle' does not exist",)),
    ],
)
def test_what_hydra_refuses_is_one_line_with_the_override_and_the_way_out(override, said):
    with pytest.raises(COMPOSITION_ERRORS) as refused:
        composed(override)
    line = explain_composition(refused.value)
    assert "\n" not in line and all(part in line for part in said), line
    assert "To append" not in line and "https" not in line and line.endswith("--cfg job shows every setting")


@pytest.mark.parametrize("override", ["+sampler.foo=1", "+foo=1", "+foo.bar=1", "+corpus.world.foo=1"])
def test_a_setting_that_nothing_reads_is_refused(override):
    with pytest.raises(ValueError, match=f"^{override[1:-2].removesuffix('.bar')} is no setting"):
        composed(override)


def test_train_tells_wrong_overrides_in_a_line_and_writes_nothing(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    for arguments, said in (
        (["run.nam=x"], "error: Could not override 'run.nam'"),
        (["--resolve"], "error: The --res"),
    ):
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith(said) and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
