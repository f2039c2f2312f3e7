"""A run folder with ledger and corpus, but without training: what commands on data read."""

from plantgfm.config import Config, CorpusKind
from plantgfm.corpus.config import CorpusConfig
from plantgfm.corpus.write import write_corpus
from plantgfm.identity import plain
from plantgfm.training.run_folder import write_json
from tests.curation.small import curate_world

LAYOUT = {"region_bp": 8_192, "segment_bp": 32_768, "min_region_bp": 1_024}


def write_run(folder, curation, *, layout=None, config=None, **settings):
    """Write ledger, corpus and settings as a run leaves them."""
    folder.mkdir(parents=True)
    config = config or Config()
    config.corpus.layout = CorpusConfig(**{**LAYOUT, **(layout or {})})
    lineage = {"curation": curation.fingerprint, "manifest": "m.csv"}
    corpus = write_corpus(curation.accepted, config.corpus.layout, out=folder / "data", lineage=lineage)
    curation.write(folder / "ledger")
    write_json(folder / "settings.json", {"config": plain(config), "corpus": str(corpus.path)})
    return corpus


def curated_run(folder, rows, world, config=None, **more):
    """Curate rows of a small world and write the run."""
    curation = curate_world(world, rows, config.curation if config else None)
    return curation, write_run(folder, curation, config=config, **more)


def manifest_config(folder, **layout):
    """Settings of a job on the manifest of a folder, with its runs and their store in the folder too."""
    config = Config()
    config.run.folder = str(folder / "runs")
    config.corpus.kind, config.corpus.path = CorpusKind.MANIFEST, str(folder / "manifest.csv")
    config.corpus.layout = CorpusConfig(**{**LAYOUT, **layout})
    return config
