"""The root of all settings: what Hydra composes, the checks that cross stages. The last place that knows Hydra.

Hydra is imported where it is used: settings that were composed before are read where it is not installed.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from plantgfm.corpus.config import CorpusConfig
from plantgfm.curation.config import CurationConfig
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.model.config import ModelConfig
from plantgfm.objectives.config import ObjectiveConfig
from plantgfm.sampling.config import SamplerConfig
from plantgfm.simulate.config import NullConfig, WorldConfig
from plantgfm.tokenization.config import VocabularyConfig, VocabularyKind
from plantgfm.training.config import OptimizerConfig, TrainingConfig

Settings = TypeVar("Settings")


class CorpusKind(Enum):
    """Where the genomes come from: the simulated clade, the simulated null genomes, or a manifest of files."""

    EMBEDDED = "embedded"
    NULL = "null"
    MANIFEST = "manifest"


class ExecutorKind(Enum):
    """Who does the work of curation; the result is the same. Auto: serial with one worker, processes with more."""

    AUTO = "auto"
    SERIAL = "serial"
    PROCESSES = "processes"
    DASK = "dask"


SLURM = "slurm"
_MANIFESTS = (".csv", ".tsv")


def check_executor(kind: ExecutorKind, *, workers: int, cluster: str) -> None:
    """Refuse a choice of executor that contradicts itself.

    Raises:
        ValueError: with the way out.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers} must be at least 1")
    if kind is ExecutorKind.SERIAL and workers > 1:
        raise ValueError(f"workers = {workers} need the executor processes or dask; serial works alone")
    if cluster and kind is not ExecutorKind.DASK:
        raise ValueError(f"cluster = {cluster!r} needs the executor dask, not {kind.value}")
    if cluster and cluster != SLURM and "://" not in cluster:
        raise ValueError(f"cluster = {cluster!r} is neither {SLURM!r} nor an address such as tcp://host:8786")
    if cluster not in ("", SLURM) and workers > 1:
        raise ValueError(f"workers = {workers} can't be asked of {cluster}: it has its own, leave them out")


@dataclass
class InputConfig:
    """The input of a run, and how it is laid out as a corpus."""

    kind: CorpusKind = CorpusKind.EMBEDDED
    path: str = "runs/world"  # a world to simulate into (or reuse), or a manifest.csv
    more: list[str] = field(default_factory=list)  # further manifests, read as one with that of `path`
    passport: str = ""  # MCPD table; "" with a manifest: no cultivar is verified against a passport
    references: str = ""  # references.tsv of contaminants; "" with a manifest: no screen against references
    world: WorldConfig = field(default_factory=WorldConfig)
    null: NullConfig = field(default_factory=NullConfig)
    layout: CorpusConfig = field(default_factory=CorpusConfig)

    def __post_init__(self):
        if self.kind is CorpusKind.MANIFEST and not self.path.endswith(_MANIFESTS):
            raise ValueError(f"corpus.path={self.path!r} is no manifest: give corpus.path=PATH/manifest.csv")
        if self.more and self.kind is not CorpusKind.MANIFEST:
            raise ValueError(f"corpus.more={self.more} are further manifests: give corpus=manifest, or leave them out")
        if odd := [path for path in self.more if not path.endswith(_MANIFESTS)]:
            raise ValueError(f"corpus.more has {odd[0]!r}, which is no manifest: give PATH/manifest.csv")


@dataclass
class RunConfig(TrainingConfig):
    """Name and place of a run, and how its loop goes."""

    name: str = "demo"
    folder: str = "runs"  # runs/<name> holds the run, runs/.store what runs share
    executor: ExecutorKind = ExecutorKind.AUTO  # of curation
    workers: int = 1  # of curation: processes, Dask workers, or SLURM jobs
    cluster: str = ""  # of Dask: "" this machine, "slurm", or the address of a scheduler
    accept: list[str] = field(default_factory=list)  # settings that a resumed run may change, by dotted name
    compilation_cache: bool = True  # keep compiled programs beside the runs, so that a restart need not compile
    hosts: str = "none"  # "auto" (SLURM, Kubernetes, TPU pods), or HOST:PORT/INDEX/COUNT: of process 0, own number, all
    hosts_wait_s: float = 43_200.0  # that a process waits for what another does, such as curation
    short_tokens: list[int] = field(default_factory=list)  # lengths of windows to begin with, shortest first
    short_steps: list[int] = field(default_factory=list)  # of each; then sampler.window_tokens. A step's tokens stay
    short_rope_thetas: list[float] = field(default_factory=list)  # model.rope_theta_full of each; []: as it is

    def __post_init__(self):
        super().__post_init__()
        self._check_short()
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"run.name={self.name!r} must be a plain folder name")
        check_executor(self.executor, workers=self.workers, cluster=self.cluster)
        if not self.hosts_wait_s > 0:
            raise ValueError(f"run.hosts_wait_s={self.hosts_wait_s} must be above 0")

    def _check_short(self) -> None:
        tokens, steps, bases = self.short_tokens, self.short_steps, self.short_rope_thetas
        if len(steps) != len(tokens) or len(bases) not in (0, len(tokens)):
            raise ValueError(
                f"run.short_tokens={tokens} needs as many run.short_steps, which are {steps}, and as many "
                f"run.short_rope_thetas or none, which are {bases}"
            )
        if any(one >= other for one, other in zip(tokens, tokens[1:])):
            raise ValueError(f"run.short_tokens={tokens} must grow from one to the next")
        if min(steps, default=1) < 1 or sum(steps) >= self.steps:
            raise ValueError(
                f"run.short_steps={steps} must be 1 or more each, and together leave some of run.steps={self.steps} "
                "for windows of sampler.window_tokens"
            )
        if not all(base > 0 for base in bases):
            raise ValueError(f"run.short_rope_thetas={bases} must be above 0")
        if tokens and self.spike_deviations:
            raise ValueError(
                f"run.spike_deviations={self.spike_deviations} can't tell a spike from what longer windows do to the "
                f"loss: leave it or run.short_tokens={tokens} out"
            )


class MeshLayout(Enum):
    """Who says how the devices are laid out."""

    STATED = "stated"  # data, fsdp and tensor
    AUTO = "auto"  # the layout of least communication that fits the devices at hand; it is printed


@dataclass
class MeshConfig:
    """Devices along each axis of the mesh; one device leaves all at 1.

    There is no `context` axis: a window has to fit the device that it lies on.
    """

    layout: MeshLayout = MeshLayout.STATED
    data: int = 1  # copies of the parameters; 0: as many as the devices that the other axes leave
    fsdp: int = 1  # parts that parameters and batch are split into
    tensor: int = 1  # parts that the work within a layer is split into
    device_memory_gb: float = 0.0  # of one device, in 10^9 bytes; 0: what the device itself states, where it does

    def __post_init__(self):
        if self.data < 0 or self.fsdp < 1 or self.tensor < 1:
            raise ValueError(
                f"mesh.data={self.data}, mesh.fsdp={self.fsdp}, mesh.tensor={self.tensor}: the first must be 0 or "
                "more, the others 1 or more"
            )
        if self.layout is MeshLayout.AUTO and (self.data, self.fsdp, self.tensor) != (1, 1, 1):
            raise ValueError("mesh=auto chooses data, fsdp and tensor itself: leave them out, or leave mesh=auto out")
        if not self.device_memory_gb >= 0:
            raise ValueError(f"mesh.device_memory_gb={self.device_memory_gb} must be 0 or more")


@dataclass
class Config:
    """Everything that a run is made of, one field a Hydra group."""

    corpus: InputConfig = field(default_factory=InputConfig)
    curation: CurationConfig = field(default_factory=CurationConfig)
    tokenizer: VocabularyConfig = field(default_factory=VocabularyConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self):
        if self.sampler.window_tokens > self.model.max_tokens:
            raise ValueError(
                f"sampler.window_tokens={self.sampler.window_tokens} is more than model.max_tokens="
                f"{self.model.max_tokens}: raise the latter or lower the former"
            )
        self._check_slots()
        self._check_lengths()

    def _check_slots(self) -> None:
        kind, width_bp, slots = self.tokenizer.kind, self.sampler.window_bp, self.sampler.window_tokens - 1
        if kind is VocabularyKind.BPE and not self.sampler.width_bp:
            raise ValueError(
                "tokenizer.kind=BPE has tokens shorter than 6 bp: state sampler.width_bp, and give more slots than one "
                "for every 6 bp, as in experiments/tokenizer/bpe.yaml"
            )
        needed = -(-width_bp // (1 if kind is VocabularyKind.BASES else 6))
        if kind is not VocabularyKind.BPE and slots < needed:
            raise ValueError(
                f"windows of {width_bp} bp (sampler.width_bp, or 6 for every slot) need sampler.window_tokens="
                f"{needed + 1} with tokenizer.kind={kind.name}, it is {slots + 1}: the rest of each window would be cut"
            )

    def _check_lengths(self) -> None:
        longest = self.sampler.window_tokens
        for tokens in self.run.short_tokens:
            if not 2 <= tokens < longest or longest % tokens:
                raise ValueError(
                    f"run.short_tokens has {tokens}: it must be 2 or more, less than sampler.window_tokens={longest} "
                    "and divide it, so that a step of either length has the same tokens"
                )


@cache  # Hydra reads the types anew each time, which is a quarter of a composition
def register() -> None:
    """Hand the types to Hydra, so that a misspelt or mistyped override is refused by name."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)


def to_config(composed: Any) -> Config:
    """Typed settings of what Hydra composed, with every check run.

    Raises:
        ValueError: for a value that a check refuses.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    if added := _added(config):
        raise ValueError(f"{added[0]} is no setting, nothing reads it: leave the override with + out")
    if odd := _not_finite(vars(config)):
        raise ValueError(
            f"{odd[0]} is not finite: give a number, a run keeps its settings as JSON, which knows no other"
        )
    if large := _too_large(vars(config)):
        raise ValueError(f"{large[0]} is more than 64 bits hold: give a smaller number")
    return config


def _added(config: Any, above: str = "") -> list[str]:
    """Dotted names of what was added to settings with Hydra's `+`, and is none of them."""
    known = {item.name for item in fields(config)}
    found = [above + name for name in vars(config) if name not in known]
    rooms = [(name, getattr(config, name)) for name in known]
    return sorted(
        [*found, *(one for name, room in rooms if is_dataclass(room) for one in _added(room, f"{above}{name}."))]
    )


def _not_finite(settings: dict[str, Any], above: str = "") -> list[str]:
    """Numbers of settings that are infinite or none, as name=value."""
    found = []
    for name, value in settings.items():
        if is_dataclass(value):
            found += _not_finite(vars(value), f"{above}{name}.")
        elif any(isinstance(one, float) and not math.isfinite(one) for one in _each(value)):
            found.append(f"{above}{name}={value}")
    return found


def _too_large(settings: dict[str, Any], above: str = "") -> list[str]:
    """Whole numbers of settings that no array holds, as name=value."""
    found = []
    for name, value in settings.items():
        if is_dataclass(value):
            found += _too_large(vars(value), f"{above}{name}.")
        elif any(isinstance(one, int) and not -(2**63) <= one < 2**63 for one in _each(value)):
            found.append(f"{above}{name}={value}")
    return found


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def __getattr__(name: str) -> Any:
    """`COMPOSITION_ERRORS`: what Hydra raises for arguments that can't be composed, for `explain_composition`."""
    if name != "COMPOSITION_ERRORS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return (HydraException, OmegaConfBaseException, ValueError)


def explain_composition(error: Exception) -> str:
    """One line for an error of Hydra's: which override or group, why, and the way out."""
    from hydra.errors import OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    said = [line.strip() for line in str(error).split("Config search path")[0].splitlines() if line.strip()]
    said = [line for line in said if not line.startswith(("To append", "See http", "full_key", "reference_type"))]
    listed = next((at for at, line in enumerate(said) if line.startswith("Available options")), len(said))
    parts = [line.rstrip(".") for line in said[:listed]]
    if isinstance(error, OverrideParseException):
        why = next((line for line in said if error.override not in line and line != "^"), "it can't be read")
        parts = [f"Error parsing override {error.override!r}", why, "KEY=VALUE, a VALUE with any of =,'(){}[] quoted"]
    if options := said[listed + 1 :]:
        parts.append(f"there are {', '.join(options)}")
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        parts += [str(cause).splitlines()[0], *_nearest_settings(cause)]
    return f"{': '.join(parts[:2])}{''.join(f'; {part}' for part in parts[2:])}; --cfg job shows every setting"


def _nearest_settings(error: Any) -> list[str]:
    """The settings that a key which does not exist may mean."""
    if not is_dataclass(error.object_type) or error.key is None:
        return []
    known = [item.name for item in fields(error.object_type)]
    near = [] if error.key in known else difflib.get_close_matches(str(error.key), known, n=3, cutoff=0.5)
    return [f"there is {' or '.join(near)}"] if near else []


def settings(base: Settings | type[Settings], overrides: Sequence[str] = ()) -> Settings:
    """Settings of one room from `key=value` texts, over its defaults or over given ones; nested keys with dots.

    Raises:
        ValueError: for a key that does not exist or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    wrong = [text for text in overrides if "=" not in text]
    if wrong:
        raise ValueError(f"--set {wrong[0]!r} is no key=value")
    base = OmegaConf.structured(base)
    try:
        return OmegaConf.to_object(OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides))))
    except (OmegaConfBaseException, YAMLError) as error:
        known = ", ".join(OmegaConf.to_container(base))
        raise ValueError(
            f"--set {' '.join(overrides)}: {str(error).splitlines()[0]}; settings here: {known}"
        ) from error
