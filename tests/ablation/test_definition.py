"""Experiment folders: those of the code compose, arms differ as they say, wrong ones are refused by name."""

import re

import pytest

from plantgfm.ablation.config import Metric, View
from plantgfm.ablation.definition import (
    CODE,
    EXPERIMENTS,
    compose_settings,
    open_experiment,
    questions,
    read_arm,
    read_definition,
    read_readme,
)
from tests.ablation.folders import DEFINITION, TINY, USUAL, three_arms, write_experiment


def test_the_four_primary_questions_those_after_them_and_the_planted_one_are_there():
    primary, then = ["masking", "objective", "stratification", "tokenizer"], ["duplicates", "loss", "repeats", "share"]
    again = ["masking_longer", "share_longer", "tokenizer_edges", "tokenizer_longer"]
    assert questions() == sorted([*primary, *then, *again, "curation", "strands", "planted"])


@pytest.mark.parametrize("question", questions())
def test_every_experiment_composes_differs_as_it_says_and_states_itself(question):
    experiment = open_experiment(EXPERIMENTS / question)
    again = {read_definition(EXPERIMENTS / name).longer for name in questions()}  # over more steps, with fewer seeds
    assert len(experiment.definition.seeds) >= (2 if question in again else 3)
    assert not experiment.changes[experiment.definition.base]
    tokens = experiment.base.run.steps * experiment.base.sampler.batch_windows * experiment.base.sampler.window_tokens
    assert tokens >= 2_000_000
    for arm, changes in experiment.changes.items():
        assert set(changes) <= set(read_arm(experiment.folder / f"{arm}.yaml"))
    readme = (experiment.folder / "README.md").read_text()
    words = ("Question.", "Hypothesis.", "Primary metric.", "Arms.", "Seeds.", "Budget.", "Decision rule.")
    assert all(f"**{word}**" in readme for word in words)
    assert all(f"`{arm}`" in readme for arm in experiment.definition.arms)
    assert experiment.definition.question in " ".join(readme.split())


def test_an_experiment_composes_on_real_genomes_too():
    real = ["corpus=manifest", "corpus.path=a/manifest.csv"]
    assert open_experiment(EXPERIMENTS / "stratification", real).base.corpus.path == "a/manifest.csv"


def test_the_tokenizer_question_has_both_views():
    definition = read_definition(EXPERIMENTS / "tokenizer")
    assert definition.views == [View.BASES, View.TOKENS] and definition.metric is Metric.IN_TURN
    assert {"single_base", "bpe"} < set(definition.arms) and not definition.not_yet


def test_changes_name_the_setting_and_both_values(tmp_path):
    experiment = open_experiment(write_experiment(tmp_path))
    assert experiment.changes == {"usual": {}, "tiny": {"optimizer.peak_learning_rate": ("0.002", "1e-09")}}
    assert experiment.arguments("tiny")[-1] == "+experiments/rate=tiny"


def test_the_commands_of_the_codes_own_questions_name_no_folder_of_this_machine(monkeypatch):
    monkeypatch.chdir(CODE)
    said = open_experiment(EXPERIMENTS / "masking").arguments("span")
    assert said[0] == "hydra.searchpath=[file://.]" and not any(str(CODE) in word for word in said)
    assert compose_settings(said)[0].objective.span_share == 1.0


def test_overrides_reach_every_arm(tmp_path):
    experiment = open_experiment(write_experiment(tmp_path), ["run.steps=7"])
    assert {config.run.steps for config in experiment.arms.values()} == {7}


def test_an_override_that_takes_an_arm_back_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"arm tiny says optimizer\.peak_learning_rate: 1e-09, but 0\.5"):
        open_experiment(write_experiment(tmp_path), ["optimizer.peak_learning_rate=0.5"])


@pytest.mark.parametrize(
    ("tiny", "said"),
    [
        (USUAL, "arm tiny has the very settings of the base usual"),
        (TINY.replace("peak_learning_rate", "peak_rate"), "peak_rate"),
        (TINY.replace("# @package _global_\n", ""), "lacks the line"),
        (TINY + "defaults: []\n", "without a defaults list"),
        (TINY + "run:\n  seed: 3\n", "sets run.seed, which the sweep gives"),
        (TINY + "model:\n  d_model: 193\n", "model.d_model 193"),
        (TINY + "model: [", "tiny.yaml"),
    ],
)
def test_a_wrong_arm_is_refused_by_name(tmp_path, tiny, said):
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        open_experiment(write_experiment(tmp_path, usual=USUAL, tiny=tiny))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (DEFINITION.replace("usual, tiny", "usual, '007'"), "arm '007' must be a name of a-z, 0-9 and _ that starts"),
        (DEFINITION + "overrides: [run.seed=7]\n", "run.seed=7: the sweep gives run.seed; seeds are those"),
        (DEFINITION + "overrides: [++sampler.seed=7]\n", "++sampler.seed=7: the sweep gives sampler.seed"),
        (DEFINITION.replace("usual, tiny", "usual"), "name two arms or more"),
        (DEFINITION.replace("usual, tiny", "usual, tiny, other"), "['other'] must be both"),
        (DEFINITION.replace("base: usual", "base: none"), "base = 'none' is none of the arms"),
        (DEFINITION.replace("[0, 1]", "[0]"), "two different ones at least"),
        (DEFINITION.replace("[0, 1]", "[]"), "two different ones at least"),
        (DEFINITION + "metrik: MASKED\n", "metrik"),
        (DEFINITION + "metric: LOSS\n", "LOSS"),
        (DEFINITION + "margin: 0\n", "margin = 0"),
        (DEFINITION + "alpha: 0.7\n", "alpha = 0.7"),
        (DEFINITION + "views: []\n", "views = []"),
        (DEFINITION + "hidden_share: 0.9\n", "hidden_share = 0.9"),
        (DEFINITION + "windows: 0\n", "windows = 0"),
        (DEFINITION.replace("[usual, tiny]", "[usual, Tiny]"), "arm 'Tiny' must be a name"),
        (DEFINITION.replace("Does the rate matter?", "''"), "question is empty"),
        ("arms: [", "experiment.yaml"),
    ],
)
def test_a_wrong_definition_is_refused_by_name(tmp_path, definition, said):
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        open_experiment(write_experiment(tmp_path, definition=definition))
    assert "\n" not in str(refused.value)


def test_no_experiment_no_readme(tmp_path):
    folder = write_experiment(tmp_path, readme=False)
    with pytest.raises(ValueError, match=r"has no README\.md"):
        open_experiment(folder)
    with pytest.raises(ValueError, match=r"experiments there: rate$"):
        open_experiment(folder.parent / "absent")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "says nothing: write question"),
        (b"# Rate\n\n", "says nothing: write question"),
        ("Präzision".encode("latin-1"), "is not UTF-8 (invalid continuation byte at byte 2)"),
    ],
)
def test_a_readme_that_states_nothing_is_refused_before_hours_are_spent(tmp_path, text, said):
    folder = write_experiment(tmp_path)
    (folder / "README.md").write_bytes(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        open_experiment(folder)
    (folder / "README.md").write_text("Does it matter?")
    assert read_readme(folder) == "Does it matter?"
    (folder / "README.md").write_text("# Rate\n\nDoes it matter?\nYes.\n")
    assert read_readme(folder) == "Does it matter?\nYes."


def test_folders_may_have_any_name_but_those_that_hydra_takes_for_groups(tmp_path):
    folder = write_experiment(tmp_path / "o'hara (2024), b")
    assert compose_settings(open_experiment(folder).arguments("tiny"))[0].optimizer.peak_learning_rate == 1e-9
    accented = write_experiment(tmp_path / "josé")
    assert compose_settings(open_experiment(accented).arguments("tiny"))[0].optimizer.peak_learning_rate == 1e-9
    odd = folder.rename(folder.with_name("my rate"))
    with pytest.raises(ValueError, match="my rate: 'my rate' is no name for Hydra: give a letter, then"):
        open_experiment(odd)


def test_windows_of_other_tokens_are_as_wide_as_the_base_s(tmp_path):
    single = "# @package _global_\ntokenizer:\n  kind: BASES\nsampler:\n  window_tokens: {0}\n  width_bp: {1}\n"
    single += "model:\n  max_tokens: {0}\n"
    folder = write_experiment(tmp_path, usual=USUAL, tiny=single.format(511, 510))
    with pytest.raises(ValueError, match="arm tiny reads windows of 510 bp, the base 1,530, .* sampler.width_bp: 1530"):
        open_experiment(folder)
    both = write_experiment(tmp_path / "b", usual=single.format(1531, 1530), tiny=single.format(511, 510))
    assert open_experiment(both).arms["tiny"].sampler.window_bp == 510  # the same tokens
    (folder / "tiny.yaml").write_text(single.format(1531, 1530))
    assert open_experiment(folder).arms["tiny"].sampler.window_bp == 1530


def test_a_longer_question_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="longer = 'rate_longer' is no experiment beside it"):
        open_experiment(write_experiment(tmp_path, definition=DEFINITION + "longer: rate_longer\n"))


def test_arms_can_be_left_out_but_not_the_base_nor_all(tmp_path):
    folder = three_arms(tmp_path)
    experiment = open_experiment(folder, without=["low", "low"])
    assert list(experiment.arms) == list(experiment.changes) == experiment.definition.arms == ["usual", "tiny"]
    assert experiment.definition.left_out == ["low"]
    with pytest.raises(ValueError, match="--without usual: arms of rate beside its base are tiny, low"):
        open_experiment(folder, without=["usual"])
    with pytest.raises(ValueError, match="--without tiny low leaves no arm of rate beside its base"):
        open_experiment(folder, without=["tiny", "low"])
