"""Pre-train on plant genomes: curate, build the vocabulary, train, evaluate. Settings are Hydra overrides.

python train.py --help        the groups and how to override
python train.py --cfg job     every setting with its value
"""

import os
import sys

import hydra
from omegaconf import DictConfig

from plantgfm.config import COMPOSITION_ERRORS, explain_composition, register, to_config

_FULL_ERROR = "HYDRA_FULL_ERROR"

register()


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(composed: DictConfig) -> None:
    """Run the main job; a wrong input is one line and exit status 2, a signal leaves a checkpoint and 130 or 143."""
    from plantgfm.cli.job import run_job

    try:
        status = run_job(to_config(composed))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    sys.exit(status)


def run() -> None:
    """`main`, with Hydra's own errors told in one line, exit status 2, too; HYDRA_FULL_ERROR=1 shows their traces."""
    if os.environ.get(_FULL_ERROR) == "1":
        main()
        return
    os.environ[_FULL_ERROR] = "1"  # Hydra would print several lines and leave with 1; so it lets its errors through
    try:
        main()
    except COMPOSITION_ERRORS as error:
        print(f"error: {explain_composition(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run()
