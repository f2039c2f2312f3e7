"""Pre-train on plant genomes: curate, build the vocabulary, train, evaluate. Settings are Hydra overrides.

python train.py --help        the groups and how to override
python train.py --cfg job     every setting with its value
"""

import sys

import hydra
from omegaconf import DictConfig

from plantgfm.config import register, to_config

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


if __name__ == "__main__":
    main()
