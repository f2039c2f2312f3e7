"""The model card of a bundle: species, data, figures, limits, licence."""

from __future__ import annotations

from typing import Any

from plantgfm.model.config import ModelConfig
from plantgfm.tokenization.config import VocabularyKind
from plantgfm.tokenization.vocabulary import Vocabulary

_TEMPLATE = """\
---
{library}
license: apache-2.0
tags: [genomics, plants, masked-language-modeling]
---

# plantgfm {kind}, {n_parameters:,} parameters

A {config.n_layers}-layer ModernBERT {kind} of width {config.d_model} over a {tokens}, pre-trained jointly on
masked tokens and on the token distribution of a region further downstream.

## Data

Corpus `{corpus}`, species: {species}.

Steps: {steps}. Window: {config.max_tokens} tokens. The licence above is that of the code and of these parameters; the
licences of the input genomes are those that their manifest states.

## Validation figures, measured during training

{metrics}

## Use

{use}

## Limits

- It has seen the species above and nothing else; on others, measure before you trust it.
- Embeddings follow sequence composition first; compare with k-mer vectors on your own task.
- Segmentation depends on the frame: the same motif at another offset is other tokens.
"""


_USE = """\
```bash
plantgfm embed . --fasta genome.fa.gz --out vectors.parquet
```"""

_EXCHANGE_USE = """\
No remote code. Give plain sequence: lower case reads as upper case, U as T, IUPAC codes as N; a [CLS] comes before.

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

model, tokenizer = AutoModelForMaskedLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
pipeline("fill-mask", model=".")("ACGTACGGCATT[MASK]ACGATT")
```

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer(".").encode(["ACGTACGGCATTACGATT"])  # masked mean; [CLS] and [PAD] do not count
```

`AutoModelForSequenceClassification` starts an untrained classifier on the mean of the states, in which transformers
counts [CLS]. What was trained elsewhere comes home with `plantgfm import DIR --out BUNDLE`."""

_CAUSAL_USE = """\
No remote code. Give plain sequence: lower case reads as upper case, U as T, IUPAC codes as N; a [CLS] comes before.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```"""


def model_card(config: ModelConfig, vocabulary: Vocabulary, lineage: dict[str, Any], *, n_parameters: int) -> str:
    """Markdown of a bundle's card; what the lineage does not state is said to be not stated."""
    return _card(config, vocabulary, lineage, n_parameters=n_parameters, library="library_name: plantgfm", use=_USE)


def exchange_card(config: ModelConfig, vocabulary: Vocabulary, lineage: dict[str, Any], *, n_parameters: int) -> str:
    """The same for a folder that Hugging Face's libraries open."""
    task = "text-generation" if config.causal else "fill-mask"
    return _card(
        config,
        vocabulary,
        lineage,
        n_parameters=n_parameters,
        library=f"library_name: transformers\npipeline_tag: {task}",
        use=_CAUSAL_USE if config.causal else _EXCHANGE_USE,
    )


def _card(
    config: ModelConfig, vocabulary: Vocabulary, lineage: dict[str, Any], *, n_parameters: int, library: str, use: str
) -> str:
    metrics = lineage.get("metrics") or {}
    lines = [f"- {name}: {value:.4f}" for name, value in sorted(metrics.items()) if isinstance(value, float)]
    return _TEMPLATE.format(
        library=library,
        use=use,
        kind="decoder" if config.causal else "encoder",
        config=config,
        tokens=_tokens(vocabulary),
        n_parameters=n_parameters,
        corpus=lineage.get("corpus_fingerprint", "not stated"),
        species=", ".join(f"*{name}*" for name in lineage.get("species", [])) or "not stated",
        steps=lineage.get("step", "not stated"),
        metrics="\n".join(lines) or "None stated.",
    )


def _tokens(vocabulary: Vocabulary) -> str:
    size = f"vocabulary of {vocabulary.size:,}"
    match vocabulary.kind:
        case VocabularyKind.BASES:
            return f"{size} tokens (single bases, N)"
        case VocabularyKind.BPE:
            return f"{size} tokens (byte-pair encoding, N)"
    eights = f"{len(vocabulary.eight_mers):,} chosen 8-mers"
    return f"hybrid {size}\ntokens (all 6-mers, {eights}, single bases, N)"
