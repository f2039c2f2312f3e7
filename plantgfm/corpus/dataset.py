"""The TFDS dataset of segments, in array_record files; TensorFlow is needed neither to write nor to read it."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from plantgfm.schema import Split

NAME = "plant_corpus"
VERSION = "1.0.0"
DESCRIPTION = "Curated plant genome sequence: two-bit bases, runs of unknown bases and repeats, duplicate clusters."

Examples = Callable[[], Iterator[dict]]


def features() -> tfds.features.FeaturesDict:
    """What one segment holds; coordinates are 0-based and half-open, runs are relative to the segment."""
    text, runs = tfds.features.Text, tfds.features.Tensor(shape=(None, 2), dtype=np.int32)
    return tfds.features.FeaturesDict(
        {
            "species": text(),
            "cultivar": text(),
            "assembly": text(),
            "record": text(),
            "compartment": text(),
            "record_index": np.int32,  # order of the records: by species, assembly, name, start
            "record_length_bp": np.int64,  # of the piece, where parts were cut out of the record
            "record_start": np.int64,  # of the piece in the record of the FASTA file; 0 where nothing was cut before it
            "start": np.int64,  # of the segment in its record, or piece
            "length_bp": np.int64,
            "split": np.int32,
            "region_bp": tfds.features.Tensor(shape=(None,), dtype=np.int32),  # lengths of the regions that tile it
            "packed": tfds.features.Tensor(shape=(), dtype=np.object_),  # bytes, four bases each, first base lowest
            "unknown_runs": runs,
            "repeat_runs": runs,
            "repeat_source": text(),
            "cluster_window_bp": np.int32,
            "cluster_id": tfds.features.Tensor(shape=(None,), dtype=np.int64),  # of windows that overlap the segment
            "cluster_size": tfds.features.Tensor(shape=(None,), dtype=np.int32),
        }
    )


class _Info(tfds.core.DatasetInfo):
    """Of a dataset that is made here: no public bucket is asked for it, which leaves a temporary folder each time."""

    def initialize_from_bucket(self) -> None:
        """Nothing."""


class PlantCorpus(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the segments that it is given, in their order, split by split."""

    VERSION = tfds.core.Version(VERSION)
    # Nothing is downloaded; TFDS 4.9.10 would look for checksums beside the code through a package it does not require.
    code_path = None

    def __init__(self, *, splits: dict[str, Examples], data_dir: Path):
        """Take one source of examples a split; a split without examples must be left out."""
        self._splits = splits
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return _Info(builder=self, description=DESCRIPTION, features=features(), disable_shuffling=True)

    def _split_generators(self, dl_manager) -> dict:
        return {name: self._generate_examples(examples) for name, examples in self._splits.items()}

    def _generate_examples(self, examples: Examples):
        yield from enumerate(examples())


def dataset_folder(corpus: Path) -> Path:
    """Where the dataset of a corpus lies: what `tfds.builder_from_directory` takes."""
    return corpus / NAME / VERSION


def write_dataset(corpus: Path, splits: dict[Split, Examples]) -> None:
    """Write the dataset of a corpus; TFDS' messages and progress bars are kept quiet."""
    tfds.disable_progress_bar()
    named = {split.name.lower(): examples for split, examples in splits.items()}
    with contextlib.redirect_stdout(io.StringIO()):
        PlantCorpus(splits=named, data_dir=corpus).download_and_prepare()
    shutil.rmtree(corpus / "downloads", ignore_errors=True)  # TFDS makes it even where nothing is downloaded


def split_names(corpus: Path) -> list[str]:
    """Names of the splits that a corpus' dataset holds, sorted."""
    return sorted(_builder(corpus).info.splits)


def read_split(corpus: Path, name: str) -> Iterator[dict]:
    """Every example of one split of a corpus' dataset, one at a time; text fields as str."""
    source = _builder(corpus).as_data_source(split=name)
    for index in range(len(source)):
        yield _as_text(source[index])


def read_dataset(corpus: Path) -> Iterator[dict]:
    """Every example of every split of a corpus' dataset, one at a time.

    Raises:
        ValueError: when the dataset is missing, or its files are damaged.
    """
    try:
        for name in split_names(corpus):
            for example in read_split(corpus, name):
                if any(value is None for value in example.values()):  # all that array_record says of a file cut short
                    raise RuntimeError(f"an example of the split {name} is empty")
                yield example
    except (RuntimeError, ParseError) as error:  # of array_record, and of protobuf for `dataset_info.json`
        what = " ".join(str(error).split())
        raise ValueError(f"{dataset_folder(corpus)} is damaged, write the corpus again ({what})") from error


def _builder(corpus: Path) -> tfds.core.DatasetBuilder:
    folder = dataset_folder(corpus)
    if not (folder / "dataset_info.json").is_file():
        raise ValueError(f"{folder} holds no dataset: the corpus is incomplete, write it again")
    return tfds.builder_from_directory(str(folder))


def _as_text(example: dict) -> dict:
    return {
        key: value.decode() if isinstance(value, bytes) and key != "packed" else value for key, value in example.items()
    }
