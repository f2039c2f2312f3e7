"""Runs a packed experiment where only jax, flax, optax, orbax, numpy, numba and what they need are installed.

    tar xf masking.tar && python run.py --out masking_on_gpu --tokens-times 20

Neither Hydra nor TFDS is asked for: settings were composed and the corpus was decoded when the file was packed. The
folder that comes out is a sweep's: bring FOLDER/QUESTION/metrics home, and
`plantgfm ablate QUESTION --folder FOLDER --report` draws its report there.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from plantgfm.ablation.config import Definition, View
from plantgfm.ablation.definition import CODE, EXPERIMENTS, Experiment
from plantgfm.config import Config
from plantgfm.identity import fingerprint, plain, read_json, restore
from plantgfm.training.allocator import keep_freed_memory

ENTRY_FILE, PACK_FILE = "run.py", "pack.json"
CORPORA = "corpora"
FORMAT = "plantgfm packed experiment"
PACK_VERSION = 1
_SIGNAL_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def data_key(config: Config) -> str:
    """Of all that shapes the corpus and the vocabulary of a run."""
    return fingerprint([plain(config.corpus), plain(config.curation), plain(config.tokenizer)])


@dataclass(frozen=True)
class Opened:
    """An unpacked experiment."""

    root: Path
    experiment: Experiment
    stated_jobs: list[dict[str, Any]]
    data: dict[str, dict[str, str]]  # data key -> fingerprints of corpus and vocabulary

    def jobs(self, folder: Path, *, times: float = 1.0) -> list[Any]:
        """The jobs, each with so many times the steps that were packed.

        Args:
            folder: where runs and metrics go.
            times: the factor of tokens.
        """
        from plantgfm.ablation.jobs import Job, equal_bases, job_config

        jobs, base = [], self.experiment.base
        for one in self.stated_jobs:
            arm, views = self.experiment.arms[one["arm"]], tuple(map(View, one["views"]))
            steps = max(1, round(one["steps"] * times))
            if View.BASES in views:  # from the base's: what was rounded before is not multiplied
                steps = equal_bases(round(base.run.steps * times), base, arm)
            counted = float("nan") if one["tokens_per_step"] is None else one["tokens_per_step"]
            jobs.append(Job(one["arm"], one["seed"], job_config(arm, folder, one["seed"], steps), views, counted))
        return jobs

    def prepare(self, config: Config, hosts: Any, *, progress: Any = None, write: Callable[[str], None]) -> Any:
        """Corpus and vocabulary as they were carried, in place of `prepare_together`.

        Raises:
            ValueError: when what was carried is damaged.
        """
        from plantgfm.corpus.read import open_corpus
        from plantgfm.wiring.data import Prepared, prepare_vocabulary, vocabulary_path

        told = self.data[data_key(config)]
        corpus = open_corpus(self.root / CORPORA / told["corpus"])
        here = replace(config, run=replace(config.run, folder=str(self.root)))
        if not vocabulary_path(here, corpus).is_file():
            raise ValueError(f"{vocabulary_path(here, corpus)} is missing: unpack it again")
        vocabulary = prepare_vocabulary(here, corpus)
        for name, found in (("corpus", corpus.fingerprint), ("vocabulary", vocabulary.fingerprint)):
            if found != told[name]:
                raise ValueError(
                    f"the carried {name} has fingerprint {found}, packed was {told[name]}: unpack it again"
                )
        return Prepared(corpus, vocabulary, None)


def open_pack(root: Path) -> Opened:
    """Read what was unpacked into a folder.

    Raises:
        ValueError: when it holds no pack, or one of another version.
    """
    path = root / PACK_FILE
    if not path.is_file():
        raise ValueError(f"{root} holds no {PACK_FILE}: unpack what `plantgfm ablate QUESTION --pack FILE` wrote")
    stated = read_json(path, remedy="unpack it again")
    if (stated.get("format"), stated.get("version")) != (FORMAT, PACK_VERSION):
        raise ValueError(f"{path} is no {FORMAT} of version {PACK_VERSION}: pack it again with this code")
    definition = restore(Definition, stated["definition"])
    definition = replace(definition, views=list(map(View, definition.views)))
    # Reports and event files need libraries that may be absent; neither shapes a result.
    quiet = {"live_report": False, "tensorboard": False}
    arms = {name: restore(Config, settings) for name, settings in stated["arms"].items()}
    arms = {name: replace(one, run=replace(one.run, **quiet)) for name, one in arms.items()}
    others = tuple(restore(Config, settings) for settings in stated.get("other_data", []))
    folder = EXPERIMENTS / stated["question"]
    experiment = Experiment(folder.name, folder, definition, tuple(stated["overrides"]), arms, {}, others)
    return Opened(root, experiment, stated["jobs"], stated["data"])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python {ENTRY_FILE}", description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of runs and metrics; goes on there")
    parser.add_argument("--tokens-times", type=float, default=1.0, metavar="X", help="times the packed steps (1)")
    parser.add_argument("--part", metavar="I/N", help="only share I of N of the jobs, for several devices")
    options = parser.parse_args(list(arguments))
    if not options.tokens_times > 0:
        raise ValueError(f"--tokens-times {options.tokens_times} must be above 0")
    return options


def main(arguments: Sequence[str] | None = None, *, root: Path = CODE) -> int:
    """Run what was packed; 0, 2 for a wrong input, 130 or 143 after a signal."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _run(_options(arguments), root, command=shlex.join(["python", ENTRY_FILE, *arguments]))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace, root: Path, *, command: str) -> int:
    keep_freed_memory()  # before JAX is imported
    from plantgfm.ablation.jobs import share
    from plantgfm.ablation.sweep import refuse_other_budgets, run_sweep
    from plantgfm.training.compiling import keep_programs
    from plantgfm.wiring.data import STORE
    from plantgfm.wiring.training import run_training

    opened, folder = open_pack(root), options.out.resolve()
    jobs = opened.jobs(folder, times=options.tokens_times)
    if options.part:
        jobs = share(jobs, options.part)
    refuse_other_budgets(opened.experiment, jobs, folder)
    keep_programs(folder / STORE / "programs")
    train = partial(run_training, prepare=opened.prepare, write=lambda line: None)
    ended = run_sweep(
        opened.experiment,
        jobs,
        folder,
        command=command,
        write=partial(print, flush=True),
        train=train,
        store=opened.root,
        corpus_of=lambda config: opened.prepare(config, None, write=lambda line: None).corpus,
    )
    if ended.interrupted:
        print(f"{ended.interrupted}: stopped; the same command goes on", file=sys.stderr)
        return _SIGNAL_STATUS.get(ended.interrupted, 1)
    print(f"metrics: {folder / opened.experiment.name}/metrics; bring them home for `plantgfm ablate --report`")
    return 0
