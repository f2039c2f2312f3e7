"""What a network starts from: the frequencies of its corpus' tokens."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.model.config import AttentionKind, Remat
from plantgfm.tokenization.vocabulary import FIRST_BASE
from plantgfm.training.run_folder import read_json, write_json
from plantgfm.wiring.runs import open_run_folder, params_of
from plantgfm.wiring.training import SETTINGS_FILE, VOCABULARY_FILE, starting_point, with_profiles


@pytest.fixture(scope="module")
def run(trained):
    """The run of all end-to-end tests, opened."""
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
