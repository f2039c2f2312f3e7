"""plantgfm: from raw plant genomes to a pre-trained, exported, searchable genomic foundation model.

The names of `plantgfm.api` are found here too, loaded when first used (PEP 562).
"""

_FACE = frozenset(
    (
        "Bundle",
        "Embedder",
        "EmbeddingConfig",
        "Model",
        "Pooling",
        "RetrievalConfig",
        "Storage",
        "StrandUse",
        "Vocabulary",
        "decode",
        "encode",
        "evaluate_run",
        "export_run",
        "load",
        "load_bundle",
        "open_encoder",
        "open_run_folder",
        "read_fasta",
        "read_manifest",
        "read_vectors",
        "retrieve",
        "reverse_complement",
        "run_training",
        "write_fasta",
        "write_vectors",
    )
)


def __getattr__(name: str):
    """Hand on a name of `plantgfm.api`; a room of the package is no such name, and is imported as usual."""
    if name not in _FACE:
        raise AttributeError(f"module 'plantgfm' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("plantgfm.api"), name)


def __dir__() -> list[str]:
    """The names of the face."""
    return sorted(_FACE)
