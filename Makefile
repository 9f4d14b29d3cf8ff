# SPDX-FileCopyrightText: 2026 the msolve authors
# SPDX-License-Identifier: MIT
#
# Each target sets up what it needs on its first call (environment/setup) and finds it ready afterwards.
run := environment/run

.PHONY: demo test test-models test-newest test-slow lint docs clean

demo: ## the main job: a crack in tungsten, MACE atoms in finite elements, on two ranks
	$(run) mpirun -n 2 msolve solver_configs/crack.yaml

test: ## the tests that take seconds, on two cores
	$(run) python -m pytest -n 2 --dist loadfile

test-newest: ## the same with the newest DOLFINx, in a private root of Debian's unstable suite
	MSOLVE_SUITE=sid $(run) python -m pytest -n 2 --dist loadfile

test-models: ## the tests of machine-learned models, in each environment that holds some of their packages
	$(run) python -m pytest -m models
	MSOLVE_MODELS=nequip $(run) python -m pytest -m models
	MSOLVE_MODELS=mattersim $(run) python -m pytest -m models

test-slow: ## the long studies: convergence, comparison with the full atomistic model
	$(run) python -m pytest -m slow

lint: ## style, types, direction of imports
	$(run) ruff check .
	$(run) mypy
	$(run) lint-imports

docs: ## docs/input-reference.md from the input model
	$(run) python -m msolve.config

clean: ## what runs and tools left in the checkout; the environment stays
	rm -rf results .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
