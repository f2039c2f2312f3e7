"""TFDS builder that publishes a written corpus in a TFDS data folder, in any file format TFDS knows.

A corpus is itself a TFDS dataset: `tfds.builder_from_directory("CORPUS/plant_corpus/1.0.0")` opens it with no code of
ours and without TensorFlow. This builder is for those who want it under their own data folder or as TFRecord:

    tfds build data/plant_corpus --manual_dir=CORPUS --file_format=tfrecord
"""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

from plantgfm.corpus import dataset


class PlantCorpus(tfds.core.GeneratorBasedBuilder):
    """Segments of curated plant genome sequence, split by region; `data/README.md` is its datasheet."""

    VERSION = tfds.core.Version(dataset.VERSION)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Name the folder of a written corpus as manual_dir."
    code_path = epath.Path(__file__)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=dataset.DESCRIPTION, features=dataset.features(), disable_shuffling=True
        )

    def _split_generators(self, dl_manager) -> dict:
        corpus = Path(dl_manager.manual_dir)
        return {name: self._generate_examples(corpus, name) for name in dataset.split_names(corpus)}

    def _generate_examples(self, corpus: Path, split: str):
        yield from enumerate(dataset.read_split(corpus, split))
