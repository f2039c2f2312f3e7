"""Commands on a trained model: evaluate, export, import, embed, score-variants."""

from __future__ import annotations

from pathlib import Path

import click

from plantgfm.cli.build import SET
from plantgfm.cli.paths import PATH
from plantgfm.cli.progress import progress_bars


class Step(click.ParamType):
    """The step of a kept checkpoint, or "best"."""

    name = "step"

    def convert(self, value, param, ctx):
        """A number, or the word."""
        if value == "best" or isinstance(value, int):
            return value
        if not value.isdigit():
            self.fail(f"{value!r} is neither a number nor 'best'", param, ctx)
        return int(value)


@click.command()
@click.argument("run", type=PATH)
@click.option("--step", type=Step(), help="Checkpoint: a step, or 'best'; the newest by default.")
@click.option("--out", type=PATH, help="Folder for the figures; RUN/evaluation[-step-STEP] by default.")
@SET
def evaluate(run: Path, step: int | str | None, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Score a checkpoint on held-out regions, beside unigram and Markov baselines on the same positions.

    Example: plantgfm evaluate runs/demo --step best
    """
    from plantgfm.wiring.scores import evaluate_run
    from plantgfm.wiring.tables import evaluation_tables

    with progress_bars() as progress:
        result = evaluate_run(run, step=step, out=out, overrides=overrides, progress=progress)
    for table in evaluation_tables(result):
        click.echo(table.to_text() + "\n")


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder to write.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "huggingface", "stablehlo", "onnx"]),
    default="bundle",
    show_default=True,
)
@click.option("--step", type=Step(), help="Checkpoint: a step, or 'best'; the newest by default.")
@click.option("--untrained", is_flag=True, help="The parameters before the first step: a baseline for comparisons.")
def export(run: Path, out: Path, form: str, step: int | str | None, untrained: bool) -> None:
    """Write a checkpoint as a bundle, or for other software. No pickle, no code.

    \b
    bundle        parameters, tokenizer, lineage, model card: what the other commands take
    huggingface   opens in transformers (AutoModelForMaskedLM, AutoTokenizer and others), sentence-transformers and
                  fill-mask pipelines without remote code
    stablehlo     vectors and logits as functions that run with jax alone, on processors, GPUs and TPUs
    onnx          vectors and logits as ONNX models, checked in onnxruntime (pip install 'plantgfm[interop]')

    A bundle in place of RUN will do, too, but for the format bundle.

    Example: plantgfm export runs/demo --out runs/demo/bundle
    """
    from plantgfm.wiring.exports import export_as

    if untrained and step is not None:
        raise click.UsageError("--untrained and --step exclude each other")
    click.echo(f"{export_as(run, out, form=form, step=0 if untrained else step)}")


@click.command(name="import")
@click.argument("folder", type=PATH)
@click.option("--out", type=PATH, required=True, help="Bundle to write.")
@click.option("--base", type=PATH, help="Bundle that the model comes from: gives what the folder lacks.")
def import_(folder: Path, out: Path, base: Path | None) -> None:
    """Read a folder of Hugging Face's layout back into a bundle.

    One that `plantgfm export --format huggingface` wrote loses nothing. One that was trained further elsewhere and
    saved by `save_pretrained` (as safetensors) may lack heads: they are taken from --base; without it, the next-region
    head is untrained, and the lineage says so.

    Example: plantgfm import tuned --out tuned_bundle --base runs/demo/bundle
    """
    from plantgfm.wiring.exports import import_bundle

    found = import_bundle(folder, out, base=base)
    for names, what in ((found.absent, "taken from --base" if base else "untrained"), (found.unplaced, "left behind")):
        if names:
            click.echo(f"{what}: {', '.join(names)}")
    click.echo(f"{out}")


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--fasta", type=PATH, help="Genome: FASTA, plain, gzip or bgzip.")
@click.option("--manifest", type=PATH, help="Or a manifest: every file that it lists.")
@click.option("--bed", type=PATH, help="Only these regions of it, each on its strand.")
@click.option("--gff3", type=PATH, help="Or only the features of one type, with --feature, each on its strand.")
@click.option("--feature", help="Type of the features of --gff3, such as gene.")
@click.option("--panel", type=PATH, help="VCF of accessions: every window once an accession, with its SNPs put in.")
@click.option("--accession", "accessions", multiple=True, help="Only this sample of --panel; may be repeated.")
@click.option("--out", type=PATH, required=True, help="Vectors: a Parquet file, or a Zarr group if it ends in .zarr.")
@click.option("--window-bp", type=int, default=0, help="Width of a window; by default what the model was trained on.")
@click.option("--stride-bp", type=int, default=0, help="From window to window; by default half a window.")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "max", "token", "base"]),
    default="mean",
    show_default=True,
    help="One vector a window (the mean leaves [CLS] out), or one a token or base.",
)
@click.option(
    "--part-bp",
    type=int,
    default=0,
    help="A vector for each stretch of so many bp in a window, side by side in its row; by default one a window.",
)
@click.option("--layer", type=int, default=-1, show_default=True, help="-1: after the final norm; 0: the embedding.")
@click.option("--strand", type=click.Choice(["forward", "reverse", "both"]), default="forward", show_default=True)
@click.option(
    "--storage",
    type=click.Choice(["float32", "bf16", "int8"]),
    default="float32",
    show_default=True,
    help="Of vectors, which are read back as float32.",
)
@click.option("--batch-windows", type=int, default=32, show_default=True)
@click.option("--remote-code", is_flag=True, help="Run the Python code that another model's folder holds.")
@SET
def embed(
    bundle,
    fasta: Path | None,
    manifest: Path | None,
    out,
    bed,
    gff3,
    feature,
    panel,
    accessions,
    remote_code,
    overrides,
    **options,
):
    """Turn a genome, or regions of it, into vectors with coordinates.

    BUNDLE is a bundle, its export for Hugging Face, or the folder of another model: ESM-format ones (AgroNT, Nucleotide
    Transformer v1) run in JAX, others that transformers opens in PyTorch, with --window-bp. A name of the hub means
    what `hf download` has put into the local cache.

    One row a window: sequence, start, end (0-based, half-open), strand, name of the region, vector. Windows with over
    10 % N are left out, and counted. A region on the minus strand is read as its reverse complement; one that is longer
    than a window gets several. With --pooling token or base a row is one of these, from the window in which it lies
    further inside where windows overlap; the bases of a token share its vector. With --part-bp a row is still a window,
    and holds the means of stretches of it, each by half of its width behind the one before: `plantgfm retrieve` then
    matches part by part. With --panel, SNPs that an accession has on both chromosomes are put into the reference; other
    calls, insertions and deletions leave it. --storage bf16 halves the space (its bits as uint16), int8 quarters it
    (each row with a scale of its own). A file that the same bundle, settings and input made is left as it is; the same
    command, stopped, goes on where it was.

    Example: plantgfm embed runs/demo/bundle --fasta genome.fa.gz --out vectors.parquet
    """
    from plantgfm.config import settings
    from plantgfm.embedding.config import EmbeddingConfig, Pooling, Storage, StrandUse
    from plantgfm.wiring.downstream import Places, embed_files

    if (fasta is None) == (manifest is None):
        raise click.UsageError("give either --fasta or --manifest")
    places = Places(bed=bed, gff3=gff3, feature=feature, panel=panel, accessions=accessions)
    kinds = {"pooling": Pooling, "strand": StrandUse, "storage": Storage}
    named = {name: kind(options[name]) for name, kind in kinds.items()}
    config = settings(EmbeddingConfig(**{**options, **named}), overrides)
    with progress_bars(unit="bp") as progress:
        counts = embed_files(
            bundle,
            out,
            fasta=fasta,
            manifest=manifest,
            config=config,
            places=places,
            remote_code=remote_code,
            progress=progress,
        )
    click.echo(f"{out}: {counts}")


@click.command(name="score-variants")
@click.argument("bundle", type=PATH)
@click.option("--vcf", type=PATH, required=True, help="Variants: VCF, plain, gzip or bgzip.")
@click.option("--fasta", type=PATH, required=True, help="The reference that they were called on.")
@click.option("--out", type=PATH, required=True, help=".vcf or .tsv, either with .gz.")
@click.option("--window-bp", type=int, default=0, help="Bases around a variant; by default what the model knows.")
@click.option(
    "--ref-mismatch",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Where REF is not what the FASTA has.",
)
@click.option("--remote-code", is_flag=True, help="Run the Python code that another model's folder holds.")
def score_variants(
    bundle: Path, vcf: Path, fasta: Path, out: Path, window_bp: int, ref_mismatch: str, remote_code: bool
) -> None:
    """Score single-base substitutions: how likely an allele is beside the reference, how far it moves the embedding.

    \b
    PGFM_LLR    ln P(ALT) - ln P(REF), mean of both strands (PGFM_LLR_F, PGFM_LLR_R: each); negative: ALT less likely
    PGFM_DIST   Euclidean distance of the mean states of the windows with either allele, mean of both strands
    PGFM_WHY    why an allele has no score: insertions, deletions, symbols, N and others are told, not guessed

    The token that covers the base is hidden, tokens are cut as in the reference, and probabilities are summed over the
    tokens of its length. A VCF keeps its lines, samples included, and gets these INFO fields, one value an alternative;
    a TSV has a row an alternative. Positions are 1-based; REF must be what the FASTA has.

    In place of BUNDLE, the folder of another masked model will do if its tokens are 6-mers with single bases (AgroNT,
    Nucleotide Transformer) or single bases. Byte pairs and overlapping k-mers do not tell single bases: refused.

    Example: plantgfm score-variants runs/demo/bundle --vcf calls.vcf.gz --fasta genome.fa.gz --out scored.vcf.gz
    """
    from plantgfm.wiring.variants import score_variants_file

    with progress_bars() as progress:
        counts = score_variants_file(
            bundle,
            vcf,
            fasta,
            out,
            window_bp=window_bp,
            skip_mismatches=ref_mismatch == "skip",
            remote_code=remote_code,
            progress=progress,
        )
    click.echo(f"{out}: {counts}")
