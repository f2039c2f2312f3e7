# The commands of a contributor: demo, test, test-interop, test-cluster, lint, bench, docs. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED := 1

.PHONY: demo test test-interop test-cluster lint bench docs lock clean

$(VENV)/.installed: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"plantgfm needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: set PYTHON=python3.12 or the like")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar off -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.interop: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --progress-bar off torch==2.13.0 "transformers>=5,<6" sentence-transformers==6.2.0 \
	  onnx==1.23.2 onnxruntime==1.31.1 onnxscript==0.7.2
	touch $@

$(VENV)/.cluster: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --progress-bar off dask==2026.8.0 distributed==2026.8.0 dask-jobqueue==0.9.0
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --progress-bar off mkdocs==1.6.1 mkdocs-material==9.8.1 mkdocstrings==1.0.8 mkdocstrings-python==2.0.11
	touch $@

demo: $(VENV)/.installed  ## the embedded world, from FASTA to retrieval, at most 12 minutes on 2 cores
	$(BIN)/python train.py
	$(BIN)/plantgfm export runs/demo --out runs/demo/bundle
	$(BIN)/plantgfm export runs/demo --out runs/demo/untrained --untrained
	$(BIN)/plantgfm retrieve runs/demo/bundle --out runs/demo/retrieval \
	  --genome runs/world/genomes/duplaria_mira.fa.gz --annotation runs/world/annotation/duplaria_mira.gff3.gz \
	  --truth runs/world/truth/orthologs.tsv --target runs/world/genomes/duplaria_sera.fa.gz --untrained runs/demo/untrained
	$(BIN)/plantgfm report runs/demo

test: $(VENV)/.installed  ## the whole suite, at most 10 minutes on 2 cores
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-interop: $(VENV)/.interop  ## live parity with transformers in PyTorch
	$(BIN)/python -m pytest -m interop tests/interop

test-cluster: $(VENV)/.cluster  ## curation on Dask, and the jobs that dask-jobqueue writes
	$(BIN)/python -m pytest tests/wiring/test_executors.py

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.interop  ## speed against named peers, as ratios within one run
	$(BIN)/python -m plantgfm.bench

docs: $(VENV)/.docs  ## the documentation site, in site/: opens without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock:  ## renew requirements.lock from setup.cfg, for Python 3.11 to 3.13
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --extra test --no-header --no-annotate setup.cfg -o requirements.lock

clean:
	rm -rf $(VENV) .venv-lock
