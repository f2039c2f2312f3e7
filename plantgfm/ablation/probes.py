"""Probes of a frozen model: what its vectors tell of held-out sequence, beside what far simpler features tell.

Every probe is fitted on some regions (genes, sequences), its strength is chosen on others, and it is scored on the
rest; the same probe reads the model's mean-pooled vectors, those of the model before training, k-mer frequencies and GC
content. Intervals resample the groups, differences to the model are taken on the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from plantgfm.ablation.annotation import GENE_CLASSES, REPEAT_CLASSES, Annotation, gene_distance_bp
from plantgfm.ablation.config import Definition, ProbeConfig
from plantgfm.ablation.measure import Arm, hide
from plantgfm.ablation.probe_data import Labelled, Part, Pool, choose_pairs, tile_probe, window_probes
from plantgfm.ablation.probe_search import RECALL_AT, Hunt, SearchInputs, open_hunt, reciprocal_ranks
from plantgfm.ablation.tasks import task_probes
from plantgfm.config import Config, CorpusKind
from plantgfm.corpus.read import Corpus
from plantgfm.embedding.config import EmbeddingConfig
from plantgfm.embedding.embed import Embedder
from plantgfm.embedding.encoders import BundleEncoder, Encoder
from plantgfm.evaluation.config import EvaluationConfig
from plantgfm.evaluation.held_out import HeldOut, Scorer
from plantgfm.evaluation.linear import class_weights, fit_probe, one_hot
from plantgfm.evaluation.probe_scores import Score, resampled_rows, spread
from plantgfm.evaluation.unigram import Unigram, fit_unigram
from plantgfm.formats.errors import FormatError
from plantgfm.formats.manifest import read_manifests
from plantgfm.formats.paths import user_path
from plantgfm.sampling.config import SamplerConfig
from plantgfm.sampling.evaluation_windows import EvaluationPairs, evaluation_pairs
from plantgfm.schema import Split

MODEL, UNTRAINED = "model", "untrained model"
GENES, REPEATS, DISTANCE, RETRIEVAL = "gene class", "repeat class", "bits per base by distance to genes", "retrieval"
DISTANCES = ((0, "inside genes"), (1_000, "up to 1 kb"), (5_000, "1 to 5 kb"), (np.iinfo(np.int64).max, "further"))
_LN2 = float(np.log(2.0))
_MOST_BP = 24_000_000
_LEAST_REGIONS = 4  # for an interval
_NO_MODEL = "the model gives vectors only: bits per base need a bundle or a run"
_NO_RUN = "no held-out windows: give --run, a run on the corpus"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Subject:
    """A frozen model, and the same one before training."""

    name: str
    encoder: Encoder
    untrained: Encoder | None
    about: dict[str, Any] = field(default_factory=dict)  # run, step, fingerprints


@dataclass(frozen=True)
class Sources:
    """What is probed: each part may be absent, and its probes then say so."""

    corpus: Corpus | None = None
    sampler: SamplerConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    annotation: Annotation | None = None
    no_annotation: str = "no annotation"
    search: SearchInputs = field(default_factory=SearchInputs)
    tasks: Path | None = None


def sources_of(
    config: Config, corpus: Corpus, *, manifest: Path | None = None, search: SearchInputs, tasks: Path | None = None
) -> Sources:
    """What the settings of a run have to be probed by; windows are drawn with one seed, the same for all runs.

    Args:
        config: of the run, or of an experiment's base.
        corpus: that it was trained on.
        manifest: of the assemblies, where it is no longer where the settings say.
        search: queries; none: a simulated world's own.
        tasks: folder of labelled sequences.
    """
    simulated = config.corpus.kind is not CorpusKind.MANIFEST
    path = user_path(config.corpus.path)
    world = (manifest.parent if manifest else path) if config.corpus.kind is CorpusKind.EMBEDDED else None
    if search.queries is None:
        search = replace(search, world=world)
    own = [path / "manifest.csv" if simulated else path, *map(user_path, config.corpus.more)]
    manifests = [manifest] if manifest else own
    found = {"corpus": corpus, "sampler": replace(config.sampler, seed=0), "evaluation": config.evaluation}
    found |= {"search": search, "tasks": tasks}
    if absent := [each for each in manifests if not each.is_file()]:
        return Sources(**found, no_annotation=f"no annotation: {absent[0]} is not there, give --manifest")
    assemblies = read_manifests(manifests)
    repeats = {}
    for one in assemblies:
        beside = one.annotation and one.annotation.parent.parent / "truth" / "repeats" / one.annotation.name
        if simulated and beside and beside.is_file():
            repeats[one.fasta] = beside
    return Sources(**found, annotation=Annotation(assemblies, repeats=repeats))


class Prober:
    """Probes that are ready but for a model; what no model changes is computed once."""

    def __init__(self, sources: Sources, config: ProbeConfig, *, window_bp: int, progress: Progress | None = None):
        """Read windows, labels, tasks and queries.

        Args:
            sources: what there is to probe by.
            config: how much of it.
            window_bp: of windows that are embedded whole.
            progress: called with (label, done, total).
        """
        self.config, self._sources, self._window_bp = config, sources, window_bp
        self._report = progress or (lambda label, done, total: None)
        self.skipped: dict[str, str] = {}
        self.labelled: list[Labelled] = []
        self._pairs: EvaluationPairs | None = None
        self._hunt: Hunt | None = None
        self._plain: dict[tuple[str, str], np.ndarray] = {}
        self._hidden: dict[str, tuple[HeldOut, Unigram]] = {}
        self._report("read windows, labels, queries", 0, 1)
        if sources.corpus is not None:
            self._read_windows(sources.corpus)
        else:
            self.skipped |= dict.fromkeys(("species", "repeat share", REPEATS, GENES, DISTANCE), _NO_RUN)
        tasks, skipped = task_probes(sources.tasks, config)
        self.labelled += tasks
        self.skipped |= skipped
        try:
            self._hunt = open_hunt(sources.search, window_bp=window_bp, config=config)
        except ValueError as error:
            if sources.search.queries is not None:
                raise
            self.skipped[RETRIEVAL] = str(error)
        self._report("read windows, labels, queries", 1, 1)
        if not self.labelled and self._hunt is None:
            raise ValueError(
                f"nothing can be probed: {'; '.join(f'{name}: {why}' for name, why in self.skipped.items())}"
            )

    def _read_windows(self, corpus: Corpus) -> None:
        pairs = evaluation_pairs(corpus, Split.TEST, self._sources.sampler)
        self._pairs = choose_pairs(pairs, self.config.windows // 2, seed=self.config.seed)
        sizes = {"window_bp": self._sources.sampler.window_bp, "config": self.config}
        try:
            self.labelled += window_probes(corpus, self._pairs, **sizes)
        except ValueError as error:
            self.skipped |= dict.fromkeys(("species", "repeat share"), str(error))
        annotation = self._sources.annotation
        for name, classes in ((REPEATS, REPEAT_CLASSES), (GENES, GENE_CLASSES)):
            paint = annotation and (annotation.repeats if name == REPEATS else annotation.genes)
            if annotation is None or not (annotation.has_repeats if name == REPEATS else annotation.has_genes):
                self.skipped[name] = "no annotation" if annotation else self._sources.no_annotation
                continue
            try:
                self.labelled.append(tile_probe(name, corpus, pairs, paint=paint, classes=classes, **sizes))
            except FormatError:
                raise
            except ValueError as error:
                self.skipped[name] = str(error)
        if annotation is None or not annotation.has_genes:
            self.skipped[DISTANCE] = "no annotation" if annotation else self._sources.no_annotation

    def probe(self, subject: Subject) -> list[dict[str, Any]]:
        """All probes of one model, as they are stored: name, sizes, scores of every predictor, the model's rows.

        Raises:
            ValueError: for a layer that the model does not have.
        """
        total, found = len(self.labelled) + 2, []
        models = {MODEL: subject.encoder} | ({UNTRAINED: subject.untrained} if subject.untrained else {})
        embedders = {name: self._embedder(encoder) for name, encoder in models.items()}
        vectors: dict[tuple[str, str], np.ndarray] = {}

        def embedded(name: str, pool: Pool) -> np.ndarray:
            if (name, pool.name) not in vectors:
                vectors[name, pool.name] = embedders[name].embed(pool.sequences)
            return vectors[name, pool.name]

        for number, one in enumerate(self.labelled):
            self._report(f"probe: {one.name}", number, total)
            features = {name: embedded(name, one.pool)[one.rows] for name in embedders}
            found.append(self._fitted(one, features))
        self._report(f"probe: {RETRIEVAL}", total - 2, total)
        if self._hunt is not None:
            found += self._searched(self._hunt, {n: [embedded(n, p) for p in self._pools()] for n in embedders})
        self._report(f"probe: {DISTANCE}", total - 1, total)
        found += self._by_distance(subject)
        self._report(f"probe: {DISTANCE}", total, total)
        return found

    def _embedder(self, encoder: Encoder) -> Embedder:
        return Embedder(encoder, EmbeddingConfig(window_bp=self._window_bp, layer=self.config.layer))

    def _pools(self) -> tuple[Pool, ...]:
        return (self._hunt.windows, *self._hunt.asked)

    def _fitted(self, one: Labelled, features: dict[str, np.ndarray]) -> dict[str, Any]:
        test = one.part == Part.TEST
        raw = {name: fitted(one, values)[test] for name, values in features.items()}
        for name, make in (("6-mer ridge", lambda: one.pool.kmers(6)), ("4-mer ridge", lambda: one.pool.kmers(4))):
            raw[name] = self._once(one, name, lambda make=make: make()[one.rows])[test]
        raw["GC"] = self._once(one, "GC", lambda: one.pool.gc[one.rows])[test]
        known = one.part != Part.TEST
        if one.classes:
            share = one_hot(one.labels, len(one.classes))[known].mean(axis=0)
            raw["majority"] = np.tile(share, (int(test.sum()), 1))
        else:
            raw["mean"] = np.full((int(test.sum()), 1), float(one.labels[known].mean()))
        truth, groups = one.labels[test], (one.group[test], one.stratum[test])
        scored = [
            (score, score.value, {name: said_of(score, said) for name, said in raw.items()}) for score in one.scores
        ]
        counts = {part.name.lower(): int(np.sum(one.part == part)) for part in (Part.FIT, Part.TUNE, Part.TEST)}
        note = f"{one.note}; fitted on {counts['fit']}, chosen on {counts['tune']}, scored on {counts['test']}"
        about = {"note": note, "classes": list(one.classes), **counts}
        return probed(one.name, truth, groups, scored, resamples=self.config.resamples, about=about)

    def _once(self, one: Labelled, name: str, features: Callable[[], np.ndarray]) -> np.ndarray:
        if (one.name, name) not in self._plain:
            self._plain[one.name, name] = fitted(one, features())
        return self._plain[one.name, name]

    def _searched(self, hunt: Hunt, vectors: Mapping[str, list[np.ndarray]]) -> list[dict[str, Any]]:
        ranks = reciprocal_ranks(hunt, {name: tuple(three) for name, three in vectors.items()})
        mrr = {name: np.where(r > 0, 1.0 / np.maximum(r, 1), 0.0).mean(axis=0) for name, r in ranks.items()}
        recall = {name: ((r > 0) & (r <= RECALL_AT)).mean(axis=0) for name, r in ranks.items()}
        truth, group = np.ones(len(hunt.queries)), np.arange(len(hunt.queries))
        scored = [(Score.RATIO, "MRR", mrr), (Score.RATIO, f"recall@{RECALL_AT}", recall)]
        about = {"note": f"{hunt.note}; by vectors alone, nothing is fitted", "classes": []}
        groups = (group, np.zeros_like(group))
        return [probed(RETRIEVAL, truth, groups, scored, resamples=self.config.resamples, about=about)]

    def _by_distance(self, subject: Subject) -> list[dict[str, Any]]:
        if DISTANCE in self.skipped or self._pairs is None:
            return []
        if not isinstance(subject.encoder, BundleEncoder):
            self.skipped[DISTANCE] = _NO_MODEL
            return []
        held_out, unigram = self._held_out(subject.encoder)
        at, sources = held_out.positions, self._sources
        scorer = Scorer(subject.encoder.bundle.network, batch_windows=sources.evaluation.batch_windows)
        bits = {MODEL: scorer(subject.encoder.bundle.params, held_out).nats / _LN2}
        if isinstance(subject.untrained, BundleEncoder):
            bits[UNTRAINED] = scorer(subject.untrained.bundle.params, held_out).nats / _LN2
        bits["token frequencies of the species"] = -unigram.log_species[held_out.species, at.token] / _LN2
        distance = self._distances(held_out, subject.encoder.bundle.vocabulary.token_bp)
        found, low = [], -1
        for high, label in DISTANCES:
            rows = (distance > low) & (distance <= high)
            low = high
            regions, index = np.unique(held_out.region[rows], return_inverse=True)
            name = f"bits per base, {label}"
            if regions.size < _LEAST_REGIONS:
                self.skipped[name] = f"{regions.size} regions hold such bases: {_LEAST_REGIONS} are the least"
                continue
            bases = np.bincount(index, weights=at.bp[rows])
            sums = {name: np.bincount(index, weights=values[rows]) for name, values in bits.items()}
            about = {"note": f"{int(bases.sum()):,} hidden bases of {regions.size} held-out regions", "classes": []}
            groups = (regions.astype(np.int64), np.zeros(regions.size, np.int64))
            scored = [(Score.RATIO, "bits per base", sums)]
            found.append(probed(name, bases, groups, scored, resamples=self.config.resamples, about=about, less=True))
        return found

    def _held_out(self, encoder: BundleEncoder) -> tuple[HeldOut, Unigram]:
        vocabulary, sources = encoder.bundle.vocabulary, self._sources
        if vocabulary.fingerprint not in self._hidden:
            asked = Definition(question="-", base="a", arms=["a", "b"], windows=len(self._pairs))
            arm = Arm(vocabulary, encoder.bundle.model_config.max_tokens)
            held_out, _ = hide(sources.corpus, arm, sources.sampler, asked, pairs=self._pairs)
            counting = {"window_bp": sources.sampler.window_bp, "most_bp": _MOST_BP}
            unigram = fit_unigram(sources.corpus, vocabulary, shrinkages=sources.evaluation.shrinkages, **counting)
            self._hidden[vocabulary.fingerprint] = (held_out, unigram)
        return self._hidden[vocabulary.fingerprint]

    def _distances(self, held_out: HeldOut, token_bp: np.ndarray) -> np.ndarray:
        """From the first base of every scored token to the nearest gene, bp; -1 where nothing is annotated."""
        at, pairs, corpus = held_out.positions, held_out.pairs, self._sources.corpus
        width = token_bp[held_out.batch.tokens].astype(np.int64)
        before = np.cumsum(width, axis=1) - width
        offset = before[at.window, held_out.slots[at.window, at.slot]]
        turned = self._sources.sampler.window_bp - offset - at.bp
        position = pairs.start[at.window] + np.where(pairs.reverse[at.window], turned, offset)
        out = np.full(len(at), -1, np.int64)
        for index in np.unique(corpus.regions.record[held_out.region]).tolist():
            record = corpus.records[index]
            spans = self._sources.annotation.gene_spans(record)
            if len(spans):
                mine = corpus.regions.record[held_out.region] == index
                out[mine] = gene_distance_bp(position[mine] - record.offset, spans)
        return out


def fitted(one: Labelled, features: np.ndarray) -> np.ndarray:
    """What a linear probe on some features says of every row, [N, C]; its fit has not seen the scored ones."""
    n_classes = len(one.classes)
    targets = one_hot(one.labels, n_classes) if n_classes else one.labels[:, None].astype(np.float64)

    def weigh(rows: np.ndarray) -> np.ndarray:
        return class_weights(one.labels[rows]) if n_classes else np.ones(int(rows.sum()))

    probe = fit_probe(
        features.astype(np.float64), targets, fit=one.part == Part.FIT, tune=one.part == Part.TUNE, weigh=weigh
    )
    return probe(features)


def said_of(score: Score, raw: np.ndarray) -> np.ndarray:
    """What a score compares with the truth: the likeliest class, the second class's lead, or the value."""
    if score is Score.AUROC:
        return raw[:, 1] - raw[:, 0]
    return raw[:, 0] if score is Score.SPEARMAN else raw.argmax(axis=1)


def probed(
    name: str,
    truth: np.ndarray,
    groups: tuple[np.ndarray, np.ndarray],
    scored: list[tuple[Score, str, dict[str, np.ndarray]]],
    *,
    resamples: int,
    about: dict[str, Any],
    less: bool = False,
) -> dict[str, Any]:
    """A probe as it is stored: every predictor's scores with intervals, and the rows that comparisons need.

    Args:
        name: of the probe.
        truth: of the scored rows, as `Score` takes it.
        groups: group and stratum of each row.
        scored: score, its label, and what each predictor says; the first predictor is the model.
        resamples: of the groups.
        about: what else is told.
        less: whether a smaller score is better.
    """
    weights, n_groups, _ = resampled_rows(*groups, resamples=resamples)
    every, rows = np.ones((1, truth.size)), []
    for score, label, said in scored:
        drawn = {predictor: score(truth, values, weights) for predictor, values in said.items()}
        for predictor, values in said.items():
            low, high = spread(drawn[predictor])
            row = {"score": label, "predictor": predictor, "value": float(score(truth, values, every)[0])}
            row |= {"low": low, "high": high}
            if predictor != MODEL:
                whole = score(truth, said[MODEL], every) - score(truth, values, every)
                low, high = spread(drawn[MODEL] - drawn[predictor])
                row |= {"model_minus": float(whole[0]), "minus_low": low, "minus_high": high}
            rows.append(row)
    first, label, said = scored[0]
    items = {"truth": truth, "said": said[MODEL], "group": groups[0], "stratum": groups[1]}
    return {
        "name": name,
        "kind": first.name,
        "score": label,
        "less_is_better": less,
        "groups": n_groups,
        **about,
        "rows": rows,
        "items": {key: [round(value, 6) for value in values.tolist()] for key, values in items.items()},
    }
