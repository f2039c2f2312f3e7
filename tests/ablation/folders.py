"""Experiment folders for tests."""

from pathlib import Path

DEFINITION = """question: Does the rate matter?
base: usual
arms: [usual, tiny]
seeds: [0, 1]
"""
USUAL = "# @package _global_\n# as it is\n{}\n"
TINY = "# @package _global_\n# a rate that learns nothing\noptimizer:\n  peak_learning_rate: 1.0e-9\n"


def three_arms(root: Path) -> Path:
    """As `write_experiment`, with a third arm `low`."""
    arms = {"usual": USUAL, "tiny": TINY, "low": TINY.replace("1.0e-9", "1.0e-8")}
    return write_experiment(root, definition=DEFINITION.replace("tiny]", "tiny, low]"), **arms)


def write_experiment(root: Path, *, definition: str = DEFINITION, readme: bool = True, **arms: str) -> Path:
    """`root/experiments/rate` with arms `usual` and `tiny`, or those given as texts."""
    folder = root / "experiments" / "rate"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(definition)
    if readme:
        (folder / "README.md").write_text("# Rate\n\n**Question.** Does the rate matter?\n")
    for name, text in (arms or {"usual": USUAL, "tiny": TINY}).items():
        (folder / f"{name}.yaml").write_text(text)
    return folder
