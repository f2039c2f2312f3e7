"""An experiment folder: its definition, its arms composed by Hydra, and the check that each differs as it says.

Hydra is imported where it is used: a packed experiment is run where it is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from plantgfm.ablation.config import Definition
from plantgfm.config import Config, explain_composition, register, to_config
from plantgfm.identity import fingerprint, plain
from plantgfm.tokenization.config import VocabularyKind
from plantgfm.training.run_folder import differences
from plantgfm.wiring.stored import without_added

CODE = Path(__file__).resolve().parents[2]
CONFIGS = CODE / "configs"
EXPERIMENTS = CODE / "experiments"
DEFINITION_FILE = "experiment.yaml"
README_FILE = "README.md"
COMMIT_FILE = "COMMIT"
"""Beside packed code, which is no checkout: the commit that it was packed from."""
SWEPT = ("run.name", "run.folder", "run.seed", "run.steps", "sampler.seed")
"""Settings that the sweep gives itself, so that no arm may."""
_ABSENT = "(absent)"

Stated = TypeVar("Stated")


@dataclass(frozen=True)
class Experiment:
    """A question that can be run: every arm composed and checked."""

    name: str
    folder: Path
    definition: Definition
    overrides: tuple[str, ...]  # of the definition, then those of the caller
    arms: dict[str, Config]
    changes: dict[str, dict[str, tuple]]  # arm -> dotted setting -> (in the base, in the arm)
    other_data: tuple[Config, ...] = ()  # one of each corpus that an arm, left out or not, has and the base has not

    @property
    def base(self) -> Config:
        """Settings of the base arm."""
        return self.arms[self.definition.base]

    @property
    def in_order(self) -> list[str]:
        """The arms, the base first, as they are run."""
        return [self.definition.base, *(arm for arm in self.definition.arms if arm != self.definition.base)]

    def stored_in(self, folder: Path) -> Experiment:
        """The same, with corpora and vocabularies kept below a folder, that of all runs."""

        def moved(config: Config) -> Config:
            return replace(config, run=replace(config.run, folder=str(folder)))

        arms = {arm: moved(config) for arm, config in self.arms.items()}
        return replace(self, arms=arms, other_data=tuple(map(moved, self.other_data)))

    def arguments(self, arm: str) -> list[str]:
        """What `train.py`, called in the code's folder, composes an arm from."""
        where = _arguments(from_code(self.folder.parent), self.overrides)
        return [*where, f"+{self.folder.parent.name}/{self.name}={arm}"]


def questions(folder: Path = EXPERIMENTS) -> list[str]:
    """Names of the experiments in a folder."""
    return sorted(path.parent.name for path in folder.glob(f"*/{DEFINITION_FILE}"))


def read_definition(folder: Path) -> Definition:
    """What `experiment.yaml` of an experiment folder says.

    Raises:
        ValueError: when it is missing, or wrong.
    """
    path = folder / DEFINITION_FILE
    if not path.is_file():
        known = ", ".join(questions(folder.parent)) or "none"
        raise ValueError(f"{folder} is no experiment ({DEFINITION_FILE} is missing); experiments there: {known}")
    return read_stated(path, Definition)


def read_stated(path: Path, kind: type[Stated]) -> Stated:
    """What a definition file says, beside which a README stands.

    Raises:
        ValueError: when there is no README, or the file is wrong.
    """
    read_readme(path.parent)
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.load(path)))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None


def open_experiment(folder: Path, overrides: Sequence[str] = (), *, without: Sequence[str] = ()) -> Experiment:
    """Read an experiment and compose its arms.

    Args:
        folder: `experiments/<question>`.
        overrides: Hydra's, over those of the definition, for every arm.
        without: arms to leave out: neither run nor compared, and named in the report.

    Raises:
        ValueError: for a wrong definition, an arm that can't be composed, one that differs from the base otherwise
            than its file says, and where no arm is left beside the base.
    """
    experiment = compose_experiment(folder, read_definition(folder), overrides)
    return _without(experiment, list(dict.fromkeys(without))) if without else experiment


def _without(experiment: Experiment, left_out: list[str]) -> Experiment:
    definition = experiment.definition
    others = [arm for arm in definition.arms if arm != definition.base]
    if unlike := [arm for arm in left_out if arm not in others]:
        raise ValueError(f"--without {unlike[0]}: arms of {experiment.name} beside its base are {', '.join(others)}")
    if set(left_out) == set(others):
        raise ValueError(f"--without {' '.join(left_out)} leaves no arm of {experiment.name} beside its base")
    kept = [arm for arm in definition.arms if arm not in left_out]
    return replace(
        experiment,
        definition=replace(definition, arms=kept, left_out=left_out),
        arms={arm: experiment.arms[arm] for arm in kept},
        changes={arm: experiment.changes[arm] for arm in kept},
    )


def read_readme(folder: Path) -> str:
    """What was stated before running: the text of the README of an experiment, without its heading.

    Raises:
        ValueError: when there is none, or nothing in it.
    """
    path = folder / README_FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {README_FILE}: write question, hypothesis and decision rule before running")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as that") from None
    heading, _, rest = text.partition("\n")
    text = rest.strip() if heading.startswith("#") else text
    if not text:
        raise ValueError(f"{path} says nothing: write question, hypothesis and decision rule before running")
    return text


def compose_experiment(
    folder: Path, definition: Definition, overrides: Sequence[str] = (), *, stated_in: str = DEFINITION_FILE
) -> Experiment:
    """Compose all arms of an experiment whose definition was read from the file `stated_in`.

    Raises:
        ValueError: as `open_experiment`.
    """
    folder = folder.resolve()
    files = {path.stem for path in folder.glob("*.yaml")} - {Path(stated_in).stem}
    if unlike := files.symmetric_difference(definition.arms):
        raise ValueError(f"{folder}: {sorted(unlike)} must be both an arm of {stated_in} and a file ARM.yaml")
    if definition.longer and not (folder.parent / definition.longer / DEFINITION_FILE).is_file():
        raise ValueError(f"{folder}: longer = {definition.longer!r} is no experiment beside it")
    every = (*definition.overrides, *overrides)
    _check_composable(folder, every)
    said = {arm: read_arm(folder / f"{arm}.yaml") for arm in definition.arms}
    given = _arguments(folder.parent, every)
    shared, *found = compose_settings(given, *([*given, f"+{folder.parent.name}/{folder.name}={arm}"] for arm in said))
    arms = dict(zip(said, found))
    for arm, config in arms.items():
        check_arm(arm, said=said[arm], shared=plain(shared), composed=plain(config))
        check_width(arm, config, arms[definition.base])
    base = plain(arms[definition.base])
    changes = {arm: differences(base, plain(config)) for arm, config in arms.items()}
    same = [arm for arm, changed in changes.items() if arm != definition.base and not changed]
    if same:
        raise ValueError(
            f"arm {same[0]} has the very settings of the base {definition.base}: nothing would be compared"
        )
    return Experiment(folder.name, folder, definition, every, arms, changes, _other_data(arms, definition.base))


def _check_composable(folder: Path, overrides: Sequence[str]) -> None:
    for name in (folder.parent.name, folder.name):
        if not re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII):
            raise ValueError(f"{folder}: {name!r} is no name for Hydra: give a letter, then letters, digits, _ and -")
    for override in overrides:
        name = override.partition("=")[0].lstrip("+~").partition("@")[0]
        if name in SWEPT and name != "run.steps":
            raise ValueError(f"{override}: the sweep gives {name}; seeds are those of the definition, folders --folder")


def _other_data(arms: Mapping[str, Config], base: str) -> tuple[Config, ...]:
    found = {data_of(config): config for config in reversed(arms.values())}
    found.pop(data_of(arms[base]))
    return tuple(found[key] for key in sorted(found))


def data_of(config: Config) -> str:
    """Fingerprint of the settings that shape a corpus: where it comes from, how it is curated and laid out."""
    return fingerprint(without_added({"corpus": plain(config.corpus), "curation": plain(config.curation)}))


def read_arm(path: Path) -> dict[str, Any]:
    """The settings that an arm's file states, by dotted name.

    Raises:
        ValueError: when the file is no settings, or chooses groups.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    text = path.read_text(encoding="utf-8")
    if "# @package _global_" not in text.splitlines():
        raise ValueError(f"{path} lacks the line '# @package _global_': its settings would not reach the root")
    try:
        said = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None
    if not isinstance(said, dict) or "defaults" in said:
        raise ValueError(f"{path} must state settings by name, without a defaults list: an arm is its difference")
    return dict(_flat(said))


def _flat(tree: dict[str, Any], above: str = ""):
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        elif value != {}:
            yield f"{above}{name}", value


def compose_settings(*jobs: Sequence[str]) -> list[Config]:
    """Typed settings of the main job, for each list of Hydra's arguments.

    Raises:
        ValueError: in one line, for what Hydra or a check refuses.
    """
    from hydra import compose, initialize_config_dir

    from plantgfm.config import COMPOSITION_ERRORS

    register()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return [to_config(compose("config", overrides=list(arguments))) for arguments in jobs]
    except COMPOSITION_ERRORS as error:
        raise ValueError(explain_composition(error)) from error


def from_code(path: Path) -> Path:
    """A path as it is called in the code's folder: relative where it lies there, so that it holds on any machine."""
    return path.relative_to(CODE) if path.is_relative_to(CODE) else path


def _arguments(experiments: Path, overrides: Sequence[str]) -> list[str]:
    where = f"file://{experiments.parent}"
    if not re.fullmatch(r"[\w.:/-]+", where, re.ASCII):  # what Hydra's grammar takes for something else
        where = "'{}'".format(where.replace("\\", "\\\\").replace("'", "\\'"))
    return [f"hydra.searchpath=[{where}]", *overrides]


def check_arm(arm: str, *, said: Mapping[str, Any], shared: dict[str, Any], composed: dict[str, Any]) -> None:
    """An arm differs from the settings that all arms share in what its file says, and in nothing else.

    Args:
        arm: its name.
        said: dotted settings of its file.
        shared: settings without any arm.
        composed: settings with it.

    Raises:
        ValueError: naming the setting.
    """
    if swept := sorted(set(said) & set(SWEPT)):
        raise ValueError(f"arm {arm} sets {swept[0]}, which the sweep gives: take it out")
    found = differences(shared, composed)
    if unsaid := sorted(set(found) - set(said)):
        raise ValueError(f"arm {arm} differs from the base in {unsaid[0]}, which its file does not say")
    flat = dict(_flat(composed))
    for name, value in said.items():
        if name not in flat or not _same(flat[name], value):
            raise ValueError(
                f"arm {arm} says {name}: {value}, but {flat.get(name, _ABSENT)} is what it gets: an override takes it "
                "back; leave that out"
            )


def check_width(arm: str, config: Config, base: Config) -> None:
    """Windows of other tokens than the base's, if not 6-mers, are as wide as its own, in which every arm is scored.

    Raises:
        ValueError: naming both widths.
    """
    mine, wanted = config.sampler.window_bp, base.sampler.window_bp
    another = config.tokenizer != base.tokenizer and config.tokenizer.kind is not VocabularyKind.HYBRID
    if mine != wanted and another:
        raise ValueError(
            f"arm {arm} reads windows of {mine:,} bp, the base {wanted:,}, in which all arms are scored: with "
            f"tokenizer.kind {config.tokenizer.kind.name}, give it sampler.width_bp: {wanted} and as many "
            "sampler.window_tokens as these need"
        )


def _same(is_now: Any, said: Any) -> bool:
    return is_now == said or str(is_now).upper() == str(said).upper()
