"""Configuration and data to a training run: plan, network, step, evaluators, identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float32

from plantgfm.config import Config
from plantgfm.corpus.read import Corpus
from plantgfm.evaluation.unigram import fit_unigram
from plantgfm.evaluation.watch import VALIDATION, VALUES, ValidationEvaluator
from plantgfm.formats.paths import user_path
from plantgfm.identity import plain
from plantgfm.model.build import Network, build
from plantgfm.model.encoder import HEADS_VERSION
from plantgfm.model.flops import step_flops
from plantgfm.model.ways import attention_line, require_ways
from plantgfm.objectives.joint import loss
from plantgfm.objectives.masking import slot_count
from plantgfm.partition import AXES, rows_of_process, state_shardings
from plantgfm.partition import batch_sharding as sharding_of_batches
from plantgfm.sampling.batches import Batches
from plantgfm.sampling.evaluation_windows import require_pairs
from plantgfm.sampling.plan import Plan, StagedPlan, build_plan
from plantgfm.schema import Batch, Split
from plantgfm.tokenization.features import N_FEATURES, kmer_features
from plantgfm.tokenization.vocabulary import Vocabulary
from plantgfm.training.bad_steps import guarded
from plantgfm.training.hosts import ALONE, Hosts
from plantgfm.training.loop import Result, train
from plantgfm.training.optimizer import build_optimizer
from plantgfm.training.run_folder import known_identities, open_run, write_json
from plantgfm.training.state import TrainState, state_init
from plantgfm.training.step import LossFunction, Metrics, make_step, place_batches
from plantgfm.training.throughput import Work
from plantgfm.training.tracking import require_tracking
from plantgfm.wiring.data import Prepared, prepare_together
from plantgfm.wiring.mesh import place
from plantgfm.wiring.stages import Stage, stages_line, stages_of
from plantgfm.wiring.stored import as_known

if TYPE_CHECKING:
    from plantgfm.curation.curate import Curation

SETTINGS_FILE = "settings.json"
VOCABULARY_FILE = "vocabulary.json"
LEDGER_FOLDER = "ledger"
_COUNTED_BP = 24_000_000
_SHRINKAGES = [2.0**i for i in range(4, 20)]  # tokens of all species that a species' own may lean on
_RAREST = 1e-9  # frequency of what is never counted: special tokens and unknown bases
SILENT = {"name", "folder", "executor", "workers", "cluster", "accept", "log_every_steps", "tensorboard", "keep_last"}
SILENT |= {"power_watts", "hosts", "hosts_wait_s", "wandb_project", "wandb_offline", "live_report"}
SILENT |= {"compilation_cache"}
"""Of the settings of a run: those that shape no result."""


@dataclass(frozen=True)
class Outcome:
    """What a run was made of, and how it ended."""

    run_dir: Path
    corpus: Corpus
    curation: Curation | None  # of the process that curated
    vocabulary: Vocabulary
    network: Network
    result: Result


def run_dir_of(config: Config) -> Path:
    """The folder of a run."""
    return user_path(config.run.folder) / config.run.name


def identity_of(config: Config, *, corpus: Corpus, vocabulary: Vocabulary) -> dict[str, Any]:
    """Every setting that shapes the result of a run; where it lies and what it prints are left out."""
    rooms = ("sampler", "model", "objective", "optimizer")
    axes = {axis: getattr(config.mesh, axis) for axis in AXES}
    return {
        "corpus": corpus.fingerprint,
        "heads": HEADS_VERSION,
        "kmer_features": N_FEATURES if config.model.kmer_features else 0,
        "vocabulary": vocabulary.fingerprint,
        "run": {key: value for key, value in plain(config.run).items() if key not in SILENT},
        "mesh": axes,
        **{room: plain(getattr(config, room)) for room in rooms},
    }


def build_network(config: Config, vocabulary: Vocabulary) -> Network:
    """The network of a configuration, with k-mer features where the model asks for them."""
    features = kmer_features(vocabulary) if config.model.kmer_features else None
    return build(config.model, vocabulary.size, features=features)


def with_profiles(config: Config, corpus: Corpus) -> Config:
    """The configuration with a profile of the next-region head for each species, where none is set."""
    if config.model.profiles:
        return config
    return replace(config, model=replace(config.model, profiles=len(corpus.species)))


def starting_point(config: Config, corpus: Corpus, vocabulary: Vocabulary) -> dict[str, Float32[np.ndarray, "..."]]:
    """Log frequencies of the tokens that a network starts from, as arguments of its `init`.

    Windows of the training split are counted, at most 24 Mb of each species.

    Returns:
        `log_unigram` [V], and `log_profiles` [K, V] of each species, shrunk to the unigram, or of all (K = 1).

    Raises:
        ValueError: for a number of profiles that is neither 1 nor that of the species.
    """
    n_profiles, n_species = config.model.n_profiles, len(corpus.species)
    if n_profiles not in (1, n_species):
        raise ValueError(
            f"model.profiles={n_profiles}, but the corpus has {n_species} species: 0 takes one profile for each, 1 one "
            "for all"
        )
    # Nothing of the evaluation's settings: they are no part of a run's identity.
    counting = {"window_bp": config.sampler.window_bp, "most_bp": _COUNTED_BP}
    unigram = fit_unigram(corpus, vocabulary, shrinkages=_SHRINKAGES, **counting)
    log_unigram, log_species = (
        np.log(np.maximum(frequencies, _RAREST)).astype(np.float32) for frequencies in (unigram.pooled, unigram.species)
    )
    return {"log_unigram": log_unigram, "log_profiles": log_species if n_profiles > 1 else log_unigram[None]}


def run_training(
    config: Config,
    *,
    hosts: Hosts = ALONE,
    progress: Callable[[str, int, int], None] | None = None,
    write: Callable[[str], None],
    prepare: Callable[..., Prepared] = prepare_together,
) -> Outcome:
    """Curate, build the vocabulary, train to the configured number of steps; goes on where an earlier call stopped.

    Args:
        config: all settings.
        hosts: the processes that do so together, from `join_hosts`.
        progress: of the long parts before training.
        write: where lines for a person go.
        prepare: gives corpus and vocabulary, called as `prepare_together`.

    Raises:
        ValueError: for input or settings that cannot work, and for a run folder that belongs to other settings.
    """
    require_tracking(config.run)
    _require_best_metric(config.run.best_metric)
    optimizer = guarded(build_optimizer(config.optimizer, config.run.steps), config.run)
    for stage in stages_of(config):
        require_ways(stage.config.model, length=stage.tokens)
    prepared = prepare(config, hosts, progress=progress, write=write)
    corpus, vocabulary = prepared.corpus, prepared.vocabulary
    config = with_profiles(config, corpus)
    network = build_network(config, vocabulary)
    plan = plan_of(config, corpus)
    require_pairs(corpus, Split.TEST, config.sampler)  # which the main job ends by scoring
    n_species = len(corpus.species)
    # Counted on the corpus, not on this host's windows: the same on every host.
    init = partial(network.init, **starting_point(config, corpus, vocabulary))
    make_state = partial(state_init, init, optimizer, seed=config.run.seed)
    shapes = jax.eval_shape(make_state())
    resolved, mesh = place(config, network, shapes, hosts=hosts, write=write)
    config = replace(config, mesh=resolved)
    _tell_stages(stages_of(config), write=write)
    state_sharding, batch_sharding = shardings_on(mesh, shapes)
    run_dir = run_dir_of(config)
    identity = as_known(identity_of(config, corpus=corpus, vocabulary=vocabulary), known_identities(run_dir))
    share, shares = rows_of_process(mesh, jax.process_index())
    batches = Batches(plan, corpus, vocabulary=vocabulary, config=config.sampler, host=share, hosts=shares)
    hosts.lead("the run folder", lambda: claim(run_dir, config, identity=identity, prepared=prepared))
    validation = watcher(config, network, corpus=corpus, vocabulary=vocabulary)
    write(f"validation: {validation.pairs.describe()}")
    result = train(
        init=make_state(sharding=state_sharding),
        step=make_step(
            loss_of(config, network, vocabulary, n_species=n_species),
            optimizer,
            seed=config.run.seed,
            micro_batches=config.run.micro_batches,
            state_sharding=state_sharding,
            batch_sharding=batch_sharding,
            adds_up=True,
        ),
        batches=batches.iterate
        if batch_sharding is None
        else lambda start: place_batches(batches.iterate(start), batch_sharding, shares=shares),
        config=config.run,
        run_dir=run_dir,
        identity=identity,
        evaluators=[validation],
        species=corpus.species,
        sharding=state_sharding,
        accept=config.run.accept,
        cut_bp=lambda: batches.cut_bp,
        work=work_of(config, network),
        hosts=hosts,
        watch=_live_report(run_dir, write=write) if config.run.live_report else None,
        write=write,
    )
    return Outcome(run_dir, corpus, prepared.curation, vocabulary, network, result)


def _require_best_metric(name: str) -> None:
    """Refuse a best metric that is never measured, before a run folder is bound to it."""
    known = [f"{VALIDATION}/{value}" for value in VALUES]
    if name and name not in known:
        raise ValueError(f"run.best_metric={name} is measured by nobody: there are {', '.join(known)}, or '' for none")


def plan_of(config: Config, corpus: Corpus) -> Plan | StagedPlan:
    """The plan of a run: one for each length of its windows."""
    stages = stages_of(config)
    plans = [build_plan(corpus, stage.config.sampler) for stage in stages]
    if len(plans) == 1:
        return plans[0]
    return StagedPlan(tuple((stage.first_step, plan) for stage, plan in zip(stages, plans)))


def _tell_stages(stages: list[Stage], *, write: Callable[[str], None]) -> None:
    if len(stages) == 1:
        write(attention_line(stages[0].config.model, length=stages[0].tokens))
        return
    write(f"{stages_line(stages)}; validation and exports are of the last")
    for stage in stages:
        write(f"{stage.tokens} tokens, {attention_line(stage.config.model, length=stage.tokens)}")


def loss_of(config: Config, network: Network, vocabulary: Vocabulary, *, n_species: int) -> LossFunction:
    """What the steps of a run follow downhill; windows of an earlier stage's length with its rotary base."""
    told = {"n_species": n_species, "token_bases": vocabulary.token_bases}
    earlier = {stage.tokens: build_network(stage.config, vocabulary) for stage in stages_of(config)[:-1]}

    def loss_fn(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        of_length = earlier.get(batch.tokens.shape[1], network)
        return loss(of_length, params, batch, key, config.objective, **told)

    return loss_fn


def _live_report(run_dir: Path, *, write: Callable[[str], None]) -> Callable[[], None]:
    from plantgfm.wiring.report import LiveReport  # it opens runs, which this module makes

    return LiveReport(run_dir, write=write).update


def work_of(config: Config, network: Network) -> Work:
    """What one optimizer step of a run computes, with that of its earlier stages."""
    *earlier, last = stages = stages_of(config)
    ends = [stage.first_step for stage in stages[1:]]
    works = tuple((end, _work_of(stage, network)) for end, stage in zip(ends, earlier))
    return replace(_work_of(last, network), earlier=works)


def _work_of(stage: Stage, network: Network) -> Work:
    slots = slot_count(stage.tokens, stage.config.objective.masked_fraction)
    flops = stage.windows * step_flops(network, tokens=stage.tokens, slots=slots)
    return Work(flops=flops, tokens=stage.windows * stage.tokens, bp=stage.windows * stage.config.sampler.window_bp)


def shardings_on(mesh: Mesh, state: TrainState) -> tuple[Any, Any]:
    """Shardings of the state and of the batch; (None, None) on one device, where nothing has to be placed."""
    return (None, None) if mesh.size == 1 else (state_shardings(mesh, state), sharding_of_batches(mesh))


def watcher(config: Config, network: Network, *, corpus: Corpus, vocabulary: Vocabulary) -> ValidationEvaluator:
    """The evaluator that watches validation windows during training."""
    return ValidationEvaluator(
        network,
        corpus=corpus,
        vocabulary=vocabulary,
        sampler=config.sampler,
        objective=config.objective,
        config=config.evaluation,
        every_steps=config.run.evaluate_every_steps,
    )


def claim(run_dir: Path, config: Config, *, identity: dict[str, Any], prepared: Prepared) -> None:
    """Open the run folder, and leave beside the run what later commands need.

    These are settings, vocabulary, ledger and the place of the corpus.
    """
    open_run(run_dir, identity, accept=config.run.accept)
    write_json(run_dir / SETTINGS_FILE, {"config": plain(config), "corpus": str(prepared.corpus.path.resolve())})
    prepared.vocabulary.save(run_dir / VOCABULARY_FILE)
    if prepared.curation is not None:  # a corpus that was carried here left its ledger at home
        prepared.curation.write(run_dir / LEDGER_FOLDER)
