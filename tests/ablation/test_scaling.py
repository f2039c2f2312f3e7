"""A grid from stored metrics: planted laws pass their check, broken ones fail it; targets, support, report."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from plantgfm.ablation import scaling
from plantgfm.ablation.config import Grid, Metric
from plantgfm.ablation.definition import EXPERIMENTS
from plantgfm.ablation.grid import grid_jobs, open_grid, target_of
from plantgfm.ablation.report import load_runs
from plantgfm.ablation.scaling_report import Stated, answer_line, find, support_line
from plantgfm.ablation.sweep import _FORMAT, MEASURE_VERSION
from plantgfm.cli import commands
from plantgfm.model.build import build
from plantgfm.model.flops import count_parameters
from plantgfm.tokenization.features import N_FEATURES
from plantgfm.training.run_folder import write_json
from plantgfm.wiring.training import work_of

PARAMETERS = {"w064": 0.8e6, "w128": 1.7e6, "w192": 3.0e6, "w256": 4.9e6}
STEPS, SLOTS = (80, 160, 320), 4096
RESAMPLES = "resamples: 20\n"


def loss_of(parameters, tokens):
    return 1.75 + 0.06 * (parameters / 1e6) ** -0.4 + 0.05 * (tokens / 1e6) ** -0.5


def write_grid(root, *, off=0.0, noise=2e-4, only=()):
    """Metrics of the committed grid as a law would leave them; `off` is added to the loss of the held-out size."""
    generator = np.random.default_rng(7)
    region = np.arange(60) // 2
    level = 0.05 * generator.standard_normal(30)[region]
    for size, parameters in PARAMETERS.items():
        for steps in STEPS:
            for seed in (0, 1):
                tokens = steps * SLOTS
                mean = loss_of(parameters, tokens) + off * (size == "w256") + noise * generator.standard_normal()
                bits = (mean + level - level.mean() + 0.002 * generator.standard_normal(60)) * 200
                if only and (size, steps, seed) not in only:
                    continue
                run = {
                    "format": _FORMAT, "version": MEASURE_VERSION, "question": "scaling", "arm": size, "seed": seed,
                    "steps": steps, "views": ["bases"], "settings": "s", "run": "r", "command": "plantgfm scaling",
                    "train_command": "t", "seconds": 60.0, "commit": "abc", "hardware": "2 cores", "versions": "jax",
                    "seen_bp": 2 * steps * 16 * 1530, "seen_tokens": None, "slots": tokens, "corpus": "c0",
                    "vocabulary": "v", "vocabulary_size": 8201, "species": ["A", "B"], "train_bp": [5_000_000] * 2,
                    "collapsed": False, "tokens_per_second": 1e4, "peak_memory_bytes": 2**30, "cut_bp": 0,
                    "parameters": int(parameters), "flops_per_step": 6 * parameters * SLOTS,
                    "windows": {
                        "region": region.tolist(), "species": (region % 2).tolist(), "bits": bits.tolist(),
                        "bases": [200.0] * 60,
                    },
                }  # fmt: skip
                path = root / "scaling" / "metrics" / f"{size}-seed{seed}-{steps}steps.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, run)


@pytest.fixture(scope="module")
def opened():
    grid = open_grid(EXPERIMENTS / "scaling")
    return replace(grid, grid=replace(grid.grid, resamples=20))


@pytest.fixture(scope="module")
def found(opened, tmp_path_factory):
    root = tmp_path_factory.mktemp("grid")
    write_grid(root)
    return find(opened, load_runs(root, "scaling"), Stated())


def test_the_committed_grid_composes_and_states_itself(opened):
    grid, experiment = opened.grid, opened.experiment
    assert grid.sizes == list(PARAMETERS) and grid.held_out == ["w256"] and grid.steps == list(STEPS)
    heads = {size: (c.model.d_model, c.model.d_model // c.model.n_heads) for size, c in experiment.arms.items()}
    assert heads == {"w064": (64, 64), "w128": (128, 64), "w192": (192, 64), "w256": (256, 64)}
    jobs = grid_jobs(opened, EXPERIMENTS)
    assert len(jobs) == len({job.name for job in jobs}) == len({job.config.run.name for job in jobs}) == 24
    assert {job.config.sampler.batch_windows * job.config.sampler.window_tokens for job in jobs} == {SLOTS}
    readme = (experiment.folder / "README.md").read_text()
    words = ("Question.", "Hypothesis.", "Primary metric.", "Sizes.", "Seeds.", "Budget.", "Decision rule.")
    assert all(f"**{word}**" in readme for word in words) and grid.question in " ".join(readme.split())
    assert all(f"`{size}`" in readme for size in grid.sizes)


def test_a_law_that_holds_passes_its_check(found):
    assert [(one.size, one.tokens) for one in found.checks] == [("w256", steps * SLOTS) for steps in STEPS]
    for one in found.checks:
        truth = loss_of(PARAMETERS["w256"], one.tokens)
        assert one.passed and one.low < truth < one.high and one.predicted == pytest.approx(truth, abs=0.004)
        assert one.nearest == pytest.approx(loss_of(PARAMETERS["w192"], one.tokens), abs=0.001)
        # Regions differ by 0.05 bits, some 0.009 of 30: the check shares them with the fit.
        assert one.high - one.low < 0.02


def test_a_size_that_leaves_the_law_fails_and_then_nothing_beyond_is_supported(tmp_path, opened):
    write_grid(tmp_path, off=0.02)
    broken = find(opened, load_runs(tmp_path, "scaling"), Stated(corpus_bp=1e9, epochs=6.0, flops_per_second=1e14))
    assert not broken.passed and not any(one.passed for one in broken.checks)
    assert all(one.unsupported["parameters"] == one.beyond["parameters"] for one in broken.predictions)
    base = broken.predictions[0]  # and what is stated of targets is used
    assert base.tokens == pytest.approx(6e9 / (1530 / 256)) and base.hours == pytest.approx(base.flops / 3.6e17)
    assert "the targets: 6.0 passes over the corpus" in broken.notes[1] and "given" in broken.notes[0]


def test_targets_cost_what_their_settings_say_and_lie_as_far_beyond_as_they_do(found, opened):
    base, billion = found.predictions
    assert base.target.name == "base" and 0.9e9 < billion.target.parameters < 1.3e9
    tokens = 1e7 / (1530 / 256)
    assert base.tokens == pytest.approx(tokens) and base.flops == pytest.approx(base.target.flops_per_token * tokens)
    assert 4 < base.target.flops_per_token / base.target.parameters < 8  # 6 N, and attention
    rate = 6 * PARAMETERS["w256"] * 1e4
    assert found.points.flops_per_second == pytest.approx(rate)
    assert base.hours == pytest.approx(base.flops / rate / 3600)
    assert base.beyond["parameters"] == pytest.approx(np.log10(base.target.parameters / 4.9e6))
    reached = np.log10(4.9 / 3.0)
    assert base.unsupported["parameters"] == pytest.approx(base.beyond["parameters"] - reached)
    assert support_line(billion).startswith("NOT supported: orders of magnitude beyond the grid: 2.")
    size = np.array([[base.target.parameters, tokens]], float)
    assert base.low <= base.loss <= base.high and base.loss == found.law.law(size)[0]


def test_the_answer_says_what_the_runs_do_not_tell(found):
    assert "not told" not in answer_line(found)
    lost = replace(found, law=replace(found.law, law=replace(found.law.law, exponents=(3.0, 0.4))))
    assert "; exponent 1 not told by these runs; base: " in answer_line(lost)


def test_runs_that_learned_nothing_are_named(opened, tmp_path):
    write_grid(tmp_path)
    runs = load_runs(tmp_path, "scaling")
    runs = [{**run, "collapsed": (run["arm"], run["steps"], run["seed"]) == ("w064", 80, 1)} for run in runs]
    assert find(opened, runs, Stated()).notes[-1].endswith("in the laws as measured: w064, 80 steps, seed 1.")


def test_a_target_within_the_grid_is_said_to_be_so(found):
    target = scaling.Target("some", 2_000_000, 1.2e7)
    shared = {"tokens": 6e5, "flops_per_second": 1e9, "alpha": 0.05}
    reach = dict.fromkeys(("parameters", "tokens", "compute"), 0.0)
    assert support_line(scaling.predict(target, found.law, found.points, reach=reach, **shared)) == "within the grid"
    small = scaling.predict(replace(target, parameters=80_000), found.law, found.points, reach=reach, **shared)
    assert small.beyond["parameters"] == pytest.approx(1.0)


def test_a_target_has_the_parameters_and_flops_of_the_network_that_is_built(opened):
    tiny = target_of(opened, "tiny", vocabulary_size=300, n_species=2)
    config = opened.experiment.arms["w192"]  # the same shape
    config = replace(config, model=replace(config.model, profiles=2))
    network = build(config.model, 300, features=np.zeros((300, N_FEATURES), np.float32))
    assert tiny.parameters == count_parameters(jax.eval_shape(network.init, jax.random.key(0)))
    assert tiny.flops_per_token == work_of(config, network).flops / SLOTS
    assert target_of(opened, "tiny", vocabulary_size=300, n_species=12).parameters > tiny.parameters
    with pytest.raises(ValueError, match=r"target 'huge' is no size of configs/model, there are 1b, base, large"):
        target_of(opened, "huge", vocabulary_size=300, n_species=2)


def test_the_frontier_leaves_out_what_less_compute_beats(found):
    cells = found.points.means()
    best = scaling.frontier(cells)
    for row in np.flatnonzero(~best):
        assert ((cells.flops <= cells.flops[row]) & (cells.loss < cells.loss[row])).any()
    assert best[np.argmin(cells.loss)] and found.compute is not None
    assert found.compute.law(cells.flops[best][:, None]) == pytest.approx(cells.loss[best], abs=0.02)


def test_missing_diverged_and_older_runs(opened, tmp_path):
    write_grid(tmp_path, only={("w064", 80, 0)})
    runs = load_runs(tmp_path, "scaling")
    with pytest.raises(ValueError, match="23 of 24 runs are missing, w064, 80 steps, seed 1; "):
        scaling.points_of(opened.grid, runs)
    write_grid(tmp_path)
    runs = load_runs(tmp_path, "scaling")
    with pytest.raises(ValueError, match="w064 lack parameters and FLOPs: delete them"):
        scaling.points_of(opened.grid, [{k: v for k, v in run.items() if k != "parameters"} for run in runs])
    lost = [{**run, "diverged": "step 3"} if run["arm"] == "w064" and run["seed"] else run for run in runs]
    points, told = scaling.points_of(opened.grid, lost)
    assert points.loss.size == 21 and len(told) == 3 and told[0] == "w064, 80 steps, seed 1 diverged"


def test_more_than_four_passes_over_the_corpus_are_told():
    assert scaling.repeats(4e6, corpus_tokens=1e6) == "" and "5.0 passes" in scaling.repeats(5e6, corpus_tokens=1e6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"held_out": []}, "one size at least is held out"),
        ({"held_out": ["w999"]}, "'w999', which is none of the sizes"),
        ({"sizes": ["w064", "w128", "w192"], "held_out": ["w192"]}, "three or more are left"),
        ({"steps": [80, 160]}, "name three different numbers"),
        ({"metric": Metric.NEXT_GAIN}, "needs a metric that falls"),
        ({"resamples": 3}, "resamples = 3"),
        ({"epochs": 0.0}, "epochs = 0.0 positive"),
    ],
)
def test_a_wrong_grid_is_refused(changed, said):
    right = {"question": "?", "sizes": list(PARAMETERS), "held_out": ["w256"], "steps": list(STEPS)}
    Grid(**right)
    with pytest.raises(ValueError, match=re.escape(said)):
        Grid(**{**right, **changed})


def invoke(*arguments):
    return CliRunner().invoke(commands, ["scaling", *map(str, arguments)])


def test_the_command_lists_its_jobs_and_draws_from_metrics(tmp_path):
    runs = tmp_path / "runs"
    dry = invoke("--dry-run", "--folder", runs, "--steps", "3,4,5")
    assert dry.exit_code == 0 and "w256 (held out): " in dry.output and not runs.exists()
    assert sum(line.startswith("python train.py") for line in dry.output.splitlines()) == 24
    assert "run.steps=5" in dry.output and "run.steps=80" not in dry.output
    write_grid(runs)
    folder = tmp_path / "grids" / "scaling"
    folder.mkdir(parents=True)
    for path in (EXPERIMENTS / "scaling").iterdir():
        more = RESAMPLES if path.name == "grid.yaml" else ""
        (folder / path.name).write_text(path.read_text() + more)
    drawn = invoke("--report", "--folder", runs, "--grid", folder, "--keep", tmp_path / "kept")
    assert len(load_runs(tmp_path / "kept", "scaling")) == 24
    assert drawn.exit_code == 0, drawn.output
    assert drawn.output.count(": pass") == 3 and "\n1b: " in drawn.output and "NOT supported" in drawn.output
    html = (tmp_path / "kept" / "scaling" / "report.html").read_text()
    result = json.loads((tmp_path / "kept" / "scaling" / "result.json").read_text())
    for said in ("Held-out sizes", "w256", "NOT supported", "As stated before running", "Muennighoff", "2 cores"):
        assert said in html
    assert html.count("data:image/png;base64,") == 2 and result["checks"][0]["passed"] is True
    assert "the check on held-out sizes passed" in (tmp_path / "kept" / "index.html").read_text()


def test_wrong_calls_are_one_line(tmp_path):
    for arguments, said in [
        (("run.steps=5",), "steps and seeds are the grid's; --steps gives other ones"),
        (("--report", "run.x=1"), "leave the overrides out"),
        (("--steps", "3,x,5"), "whole numbers with commas"),
        (("--dry-run", "--report"), "exclude each other"),
    ]:
        result = invoke("--folder", tmp_path, *arguments)
        assert result.exit_code and said in result.output
    with pytest.raises(ValueError, match=r"is no grid of sizes \(grid\.yaml is missing\)"):
        open_grid(tmp_path)
