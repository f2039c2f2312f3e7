"""The training loop, and all the side effects of training.

A run folder, as `run_folder` describes it, is what `train` leaves behind. Killed at any moment and called again with
the same arguments, it ends with the same parameters, bit for bit, as if nothing had happened (same devices).
"""

from __future__ import annotations

import contextlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax

from plantgfm.identity import fingerprint
from plantgfm.schema import Batch
from plantgfm.training.bad_steps import BadStep, judge
from plantgfm.training.checkpoint import Checkpoints, Restored
from plantgfm.training.compiling import compile_seconds
from plantgfm.training.config import OnBadStep, TrainingConfig
from plantgfm.training.hosts import ALONE, Hosts, LostHost
from plantgfm.training.metrics import METRICS_FILE, TENSORBOARD, Averages, MetricsFile, TensorBoard, nats_per_token
from plantgfm.training.progress import Progress, say
from plantgfm.training.run_folder import (
    RESULT_FILE,
    RunStatus,
    keeping_the_end,
    known_identities,
    locked,
    note_end,
    open_run,
    read_json,
    write_json,
)
from plantgfm.training.signals import SharedStop, StopRequest, stop_on_signals
from plantgfm.training.source import Source
from plantgfm.training.state import TrainState, abstract_state
from plantgfm.training.step import Metrics, block_names
from plantgfm.training.throughput import THROUGHPUT_FILE, ThroughputReport, Work
from plantgfm.training.tracking import WeightsAndBiases, require_tracking


def _fresh() -> dict[str, Any]:
    """What a checkpoint keeps for the loop, before the first step."""
    return {"averages": {}, "metrics": {}, "evaluations": {}, "ahead": 0, "bad_steps": []}


class Evaluator(Protocol):
    """Something that scores parameters now and then; always once more at the end."""

    name: str
    every_steps: int  # 0: at the end only

    def run(self, params: Any) -> dict[str, float]:
        """Named values of these parameters."""


@dataclass
class Result:
    """How a call of `train` ended."""

    step: int  # optimizer steps done, over all calls
    resumed_from: int  # the step that this call started at
    interrupted: str = ""  # the signal that ended it early, else ""
    tokens: int = 0  # input tokens of this call
    cut_bp: int = 0  # base pairs of this call's windows that made more tokens than a window holds
    seconds: dict[str, float] = field(default_factory=dict)  # by use: start, input, compute, evaluation, checkpoint
    first_step_seconds: float = 0.0  # from this call to the end of its first step: restoring and compiling, too
    compile_seconds: float = 0.0  # of these, XLA's on the step
    tokens_per_second: float = 0.0  # of this call, first step (compilation) and evaluation apart
    peak_memory_bytes: int = 0  # resident set of this process
    metrics: dict[str, float] = field(default_factory=dict)  # the last logged averages
    evaluations: dict[str, float] = field(default_factory=dict)  # the last value of each evaluator
    bad_steps: list[dict[str, Any]] = field(default_factory=list)  # of all calls: step, loss, why, what was done


def train(
    *,
    init: Callable[[], TrainState],
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    batches: Callable[[int], Iterator[Batch]],
    config: TrainingConfig,
    run_dir: Path,
    identity: dict[str, Any],
    evaluators: Sequence[Evaluator] = (),
    species: Sequence[str] = (),
    sharding: Any = None,
    accept: Sequence[str] = (),
    cut_bp: Callable[[], int] = lambda: 0,
    work: Work | None = None,
    hosts: Hosts = ALONE,
    watch: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    write: Callable[[str], None] = say,
) -> Result:
    """Train to `config.steps`, from wherever the run folder stands.

    Args:
        init: makes the state of step 0, from `state_init`.
        step: from `make_step`.
        batches: the batches from step n on; must give the same batch for the same step whenever asked.
        config: how long, how often.
        run_dir: the run's folder; made, or gone on with.
        identity: every setting that shapes the result, with the fingerprints of corpus and vocabulary.
        evaluators: scored every so many steps and at the end; their values are named "evaluator/value".
        species: names, in the order of the species index, for the losses per species.
        sharding: of the state, as given to `state_init` and `make_step`.
        accept: dotted names of identity keys that may differ from those of the run folder.
        work: of one step, for the throughput report; None: no report.
        cut_bp: base pairs that the batches so far have cut, on this host.
        hosts: the processes that train together; all call this with the same arguments, but their own batches.
        watch: called by process 0 when evaluators have measured and their line is written: to draw a report, say.
        clock: seconds; only for speed and progress.
        write: where lines for a person go.

    Returns:
        The result; with `interrupted` set when a signal ended the run early, its state saved.

    Raises:
        RunMismatch: when the folder belongs to a run with other settings.
        RunBusy: when another process trains in it.
        LostHost: when another process of the run is gone; what waits for it is left as it is.
        DamagedCheckpoint: when it holds checkpoints and none can be read.
        CheckpointFailed: when one can't be written, told at the next logged step; those before stay whole.
        TrackingError: when Weights & Biases is asked for and its client is missing, or refuses.
        BadStep: at a step whose loss or gradient is not finite, or whose loss spikes, where the policy is to stop, and
            after `config.max_bad_steps` under another.
    """
    require_tracking(config)
    status = hosts.lead("opening the run folder", lambda: open_run(run_dir, identity, accept=accept).value)
    if RunStatus(status) is RunStatus.DONE:
        write(f"{run_dir} is done: nothing is left to train")
        return Result(**read_json(run_dir / RESULT_FILE))
    run = _Run(
        config, run_dir=run_dir, identity=identity, species=species, work=work, watch=watch, clock=clock, write=write
    )
    run.expect_best_metric(evaluators)
    with contextlib.ExitStack() as stack:
        hosts.lead("the run folder", lambda: stack.enter_context(locked(run_dir)))
        stack.enter_context(keeping_the_end(run_dir))
        stop = stack.enter_context(stop_on_signals())
        stop = stop if hosts.count == 1 else SharedStop(stop)
        stack.push(run.close)
        with run.timed("start"):
            state = run.start(init, sharding=sharding)
        stack.enter_context(hosts.together(lambda: f"step {run.step}"))
        source = stack.enter_context(Source(batches, run.data_step))
        while run.step < config.steps and not stop:
            try:
                with run.timed("input"), run.saving(state):
                    batch = source.next()
                run.meet(batch)
                with run.timed("compute"):
                    state, metrics = step(state, batch)
                    run.count(metrics, tokens=int(batch.tokens.size))
                measured = run.evaluate(evaluators, state.served)
                run.log(measured)
                run.save_if_due(state, measured)
                if stop.look():
                    run.settle()
            except BadStep as bad:
                state = None  # two states may not fit
                state = run.roll_back(bad, init, sharding=sharding)
                source.go_to(run.data_step)
        run.result.cut_bp = sum(hosts.agree("what was cut", lambda: int(cut_bp())))
        return run.finish(state, stop)


class _Run:
    """One call of `train`: its counters, files and clocks, so that the loop reads as a list of what happens."""

    def __init__(
        self, config: TrainingConfig, *, run_dir: Path, identity: dict, species, work: Work | None, watch, clock, write
    ):
        self._config, self._run_dir, self._identity, self._species = config, run_dir, identity, species
        self._work, self._watch, self._clock, self._write = work, watch, clock, write
        self._began = clock()
        self._blocks: list[str] = []
        self._trackers: list[WeightsAndBiases] = []
        self._throughput: ThroughputReport | None = None
        self._pending: Metrics | None = None
        self._loss = math.nan
        self._parts: dict[str, float] = {}
        self._cold: tuple[float, int] | None = None  # seconds and tokens of steps that were compiled
        self._length = 0  # of the windows of the last step
        self._warm = 0.0, 0  # seconds and tokens before the step that was last compiled
        self._compiles = False
        self._saved_step = 0
        self._closing, self._files = contextlib.ExitStack(), contextlib.ExitStack()
        self._ahead = 0  # steps that the data is ahead of the parameters, by rolling back
        self.step = 0
        self.result = Result(step=0, resumed_from=0)

    @property
    def data_step(self) -> int:
        """The step of the plan that the next batch is of."""
        return self.step + self._ahead

    def expect_best_metric(self, evaluators: Sequence[Evaluator]) -> None:
        """Refuse a best metric that no evaluator can give."""
        name, names = self._config.best_metric.split("/")[0], [evaluator.name for evaluator in evaluators]
        if name and name not in names:
            raise ValueError(f"run.best_metric is {self._config.best_metric!r}, the evaluators are {names}")

    def start(self, init: Callable[[], TrainState], *, sharding: Any) -> TrainState:
        """Restore the newest state or make a fresh one, and open the files where it stands."""
        config = self._config
        self._checkpoints = Checkpoints(
            self._run_dir,
            keep_last=config.keep_last,
            best_metric=config.best_metric,
            best_is_lowest=config.best_is_lowest,
            regular_steps=config.checkpoint_every_steps if config.on_bad_step is OnBadStep.ROLL_BACK else 0,
        )
        self._closing.callback(self._checkpoints.close)
        restored = self._checkpoints.restore(abstract_state(init, sharding=sharding), identity=self._identity)
        extra = self._stand_at(restored)
        self._ahead = extra["ahead"]
        self.result = Result(
            self.step,
            self.step,
            metrics=extra["metrics"],
            evaluations=extra["evaluations"],
            bad_steps=extra["bad_steps"],
        )
        self._open_trackers()
        self._open_files()
        if self.step and self._sinks:
            self._write(f"going on from step {self.step} of {self._config.steps} in {self._run_dir}")
        self._open_report()
        state = restored.state if restored else init()
        self._blocks = block_names(state.params)
        self._compiled = compile_seconds()
        return state

    def _stand_at(self, restored: Restored | None) -> dict[str, Any]:
        """Take up the step and the averages of a checkpoint, or of none; what else it keeps for the loop."""
        extra = {**_fresh(), **(restored.position["extra"] if restored else {})}
        self.step = self._saved_step = restored.step if restored else 0
        self._averages = Averages(extra["averages"])
        return extra

    def roll_back(self, bad: BadStep, init: Callable[[], TrainState], *, sharding: Any) -> TrainState:
        """The state of the newest regular checkpoint, with files and data position set for it, after a bad step.

        What follows is decided by the bad step alone, so that a kill before the next checkpoint changes nothing: the
        run comes here again.

        Raises:
            BadStep: where the policy is another one, or too many steps were bad.
        """
        if self._config.on_bad_step is not OnBadStep.ROLL_BACK:
            raise bad
        at, self._pending = self.step, None
        with self.timed("start"):
            restored = self._checkpoints.roll_back(abstract_state(init, sharding=sharding))
            self._stand_at(restored)
            self._ahead += at - self.step
            self.result.step = self.step
            self._files.close()
            self._open_files()
            self._note(at, bad, f"rolled back to step {self.step}, the data goes on behind it")
            return restored.state if restored else init()

    def _note(self, step: int, bad: BadStep, done: str) -> None:
        """Keep and tell what was done about a bad step.

        Raises:
            BadStep: when there were too many.
        """
        loss = self._loss if math.isfinite(self._loss) else None
        self.result.bad_steps.append({"step": step, "loss": loss, "why": type(bad).__name__, "done": done})
        if len(self.result.bad_steps) > self._config.max_bad_steps:
            raise type(bad)(f"{bad}; run.max_bad_steps {self._config.max_bad_steps} are used up") from bad
        if jax.process_index() == 0:
            self._write(f"{str(bad).split(';')[0]}: {done}")

    def _open_trackers(self) -> None:
        if jax.process_index() != 0 or not self._config.wandb_project:
            return
        first, *earlier = known_identities(self._run_dir)
        run_id = fingerprint({"run": self._run_dir.resolve().name, "identity": (earlier or [first])[0]})
        tracker = WeightsAndBiases(self._run_dir, config=self._config, run_id=run_id, identity=first)
        self._trackers.append(tracker)
        self._closing.callback(tracker.close)

    def _open_files(self) -> None:
        self._sinks: list[MetricsFile | TensorBoard | WeightsAndBiases] = []
        self._progress: Progress | None = None
        if jax.process_index() != 0:
            return
        self._sinks.append(MetricsFile(self._run_dir / METRICS_FILE, step=self.step))
        if self._config.tensorboard:
            self._sinks.append(board := TensorBoard(self._run_dir / TENSORBOARD, step=self.step))
            if not board.works:
                self._write("run.tensorboard: tensorboardX is not installed here, so there will be no event files")
        self._progress = Progress(start=self.step, steps=self._config.steps, clock=self._clock, write=self._write)
        for part in (*self._sinks, self._progress):
            self._files.callback(part.close)
        self._sinks += self._trackers  # which stay open where a run rolls back

    def _open_report(self) -> None:
        if self._work is not None and jax.process_index() == 0:
            self._throughput = ThroughputReport(
                self._run_dir / THROUGHPUT_FILE,
                work=self._work,
                steps=self._config.steps,
                watts=self._config.power_watts,
                write=self._write,
            )
            self._throughput.begin()

    def close(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Let go of files and threads; what is being saved is saved first, unless that takes a host that is lost."""
        self._files.close()
        if not isinstance(error, LostHost):
            self._closing.close()

    @contextlib.contextmanager
    def timed(self, use: str) -> Iterator[None]:
        """Add the seconds of the block to those of a use."""
        began = self._clock()
        yield
        self.result.seconds[use] = self.result.seconds.get(use, 0.0) + self._clock() - began

    def meet(self, batch: Batch) -> None:
        """Take note of the windows of the next step, and say where they get another length: it is compiled for them.

        What that takes is no part of the speed.
        """
        length, before = batch.tokens.shape[1], self._length
        self._compiles, self._length = length != before, length
        if not before or not self._compiles:
            return
        with self.timed("compute"):
            self._drain()
        self._warm = self._spent(), self.result.tokens
        if jax.process_index() == 0:
            self._write(
                f"windows of {length} tokens from step {self.step + 1} on, {before} before: compiling the step for them"
            )

    def count(self, metrics: Metrics, *, tokens: int) -> None:
        """Count a step that the device was given, and read the metrics of the one before while it runs."""
        self._drain()
        self.step += 1
        self.result.step = self.step
        self.result.tokens += tokens
        self._pending = metrics
        if self._compiles:
            self._drain()
        if self._cold is None:
            self.result.first_step_seconds = self._clock() - self._began
            self.result.compile_seconds = compile_seconds() - self._compiled

    def _drain(self) -> None:
        """Wait for the metrics of the last step.

        Raises:
            BadStep: when they show that the step went wrong, and the policy is not to skip it.
        """
        if self._pending is None:
            return
        metrics, self._pending = jax.device_get(self._pending), None
        self._loss = float(metrics["loss"])
        bad = judge(metrics, step=self.step, saved=self._saved_step, deviations=self._config.spike_deviations)
        if bad is None:
            self._parts = nats_per_token(metrics)
            self._averages.add({name: value for name, value in metrics.items() if name != "verdict"})
        elif self._config.on_bad_step is OnBadStep.SKIP:
            self._note(self.step, bad, "skipped")
        else:
            raise bad

    @contextlib.contextmanager
    def saving(self, state: TrainState) -> Iterator[None]:
        """Save the state where the block fails, and say so: batches that end early cost no step that was done."""
        try:
            yield
        except Exception:
            if self.step > self._saved_step:
                self._save(state, {})
                self._checkpoints.wait()
            self._write(f"no batch for step {self.step + 1}; step {self.step} is saved, the same command goes on there")
            raise

    def settle(self) -> None:
        """Wait for the last step, so that a bad one is known before the loop ends."""
        with self.timed("compute"):
            self._drain()

    def _is_due(self, every_steps: int) -> bool:
        return self.step >= self._config.steps or (every_steps > 0 and self.step % every_steps == 0)

    def evaluate(self, evaluators: Sequence[Evaluator], params: Any) -> dict[str, float]:
        """Run the evaluators that are due; their values as "evaluator/value"."""
        measured: dict[str, float] = {}
        for evaluator in (each for each in evaluators if self._is_due(each.every_steps)):
            with self.timed("compute"):
                self._drain()
            with self.timed("evaluation"):
                values = evaluator.run(params)
            measured |= {f"{evaluator.name}/{name}": float(value) for name, value in values.items()}
            best = self._config.best_metric
            if best.split("/")[0] == evaluator.name and best not in measured:
                raise ValueError(f"run.best_metric is {best!r}, {evaluator.name} gives {sorted(measured)}")
        self.result.evaluations |= measured
        return measured

    def log(self, measured: dict[str, float]) -> None:
        """Show progress; write the averages where a line is due, and what was measured at once."""
        due = self._is_due(self._config.log_every_steps)
        if due or measured:
            with self.timed("compute"):
                self._drain()
        self._measure_speed()
        if self._progress is not None:
            speed = self.result.tokens_per_second
            self._progress.show(self.step, loss=self._loss, parts=self._parts, tokens_per_second=speed, line=due)
        if not (due or measured):
            return
        self._checkpoints.check()
        if due:
            self.result.metrics = self._averages.take(self._species, self._blocks)
        averages = self.result.metrics if due else {}
        row = {"step": self.step, **averages, **measured, "tokens_per_second": self.result.tokens_per_second}
        for sink in self._sinks:
            sink.write(row)
        if self._throughput is not None:
            self.result.peak_memory_bytes = peak_memory_bytes()
            self._throughput.update(self.result)
        if measured and self._watch is not None and jax.process_index() == 0:
            with self.timed("report"):
                self._watch()

    def _measure_speed(self) -> None:
        """Tokens per second of input and compute, without steps that were compiled."""
        seconds = self._spent()
        if self._cold is None:
            self._cold = seconds, self.result.tokens
        elif self._compiles:
            (cold, cold_tokens), (warm, warm_tokens) = self._cold, self._warm
            self._cold = cold + seconds - warm, cold_tokens + self.result.tokens - warm_tokens
        elif seconds > self._cold[0]:
            self.result.tokens_per_second = (self.result.tokens - self._cold[1]) / (seconds - self._cold[0])

    def _spent(self) -> float:
        return self.result.seconds["input"] + self.result.seconds["compute"]

    def save_if_due(self, state: TrainState, measured: dict[str, float]) -> None:
        """Write a checkpoint where one is due, and where the best metric was just measured."""
        if self._is_due(self._config.checkpoint_every_steps) or self._config.best_metric in measured:
            self._save(state, measured)

    def _save(self, state: TrainState, measured: dict[str, float]) -> None:
        with self.timed("compute"):
            self._drain()  # a bad step must not be saved
        with self.timed("checkpoint"):
            for sink in self._sinks:
                sink.sync()
            extra = {
                "averages": self._averages.save(),
                "metrics": self.result.metrics,
                "evaluations": dict(self.result.evaluations),
                "ahead": self._ahead,
                "bad_steps": list(self.result.bad_steps),
            }
            self._checkpoints.save(state, identity=self._identity, metrics=measured, extra=extra)
        self._saved_step = self.step

    def finish(self, state: TrainState, stop: StopRequest) -> Result:
        """Save what is not saved yet, wait until it is on disk, and say how it ended."""
        result = self.result
        if self.step > self._saved_step:
            self._save(state, {})
        with self.timed("checkpoint"):
            self._checkpoints.wait()
        result.peak_memory_bytes = peak_memory_bytes()
        if self._throughput is not None:
            self._throughput.end(result)
        if self.step < self._config.steps:
            result.interrupted = stop.signal
            if jax.process_index() == 0:
                note_end(self._run_dir, stop.signal, failed=False)
            self._write(f"{stop.signal}: step {self.step} is saved; the same command goes on from there")
        elif jax.process_index() == 0:
            write_json(self._run_dir / RESULT_FILE, result)
        return result


def peak_memory_bytes() -> int:
    """The largest resident set that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
