# make report  builds the environment, runs the notebooks on the results that are shipped or stored, leaves
#              build/report/index.html, and computes a few shipped cells anew
# make reproduce  computes every shipped cell of SCALE (quick) anew, which takes hours and says how many, and then the
#              report from them; a run that was stopped goes on where it was
# make test    builds the environment, checks style and types, runs the tests
# make reference  the notebooks alone, and leaves figures in figures/ and the outputs in the notebooks
# make lab     opens JupyterLab with the right kernel
# make locked  builds the environment from requirements.lock instead, hashes checked; before any of the others
PYTHON ?= python3
SCALE ?= quick
BIN := .venv/bin
NEWS := @jupyterlab/apputils-extension:announcements

.PHONY: report reproduce reference test lint lab locked clean

report: .venv/.installed
	$(BIN)/python -m sparseguard report --out build/report
	$(BIN)/python -m sparseguard verify

reproduce: .venv/.installed
	$(BIN)/python -m sparseguard reproduce --scale $(SCALE)
	$(BIN)/python -m sparseguard report --out build/report

reference: .venv/.installed
	$(BIN)/python -m sparseguard report --out build/report --figures figures

test: .venv/.installed-dev lint
	$(BIN)/python -m pytest -n 2

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/nbqa mypy notebooks

lab: .venv/.installed
	$(BIN)/jupyter labextension disable $(NEWS)  # neither news nor update prompts
	JUPYTER_PREFER_ENV_PATH=1 $(BIN)/jupyter lab notebooks

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sparseguard needs Python 3.11 or later; name it with make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/.installed-dev: pyproject.toml .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

locked: requirements.lock | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch .venv/.installed .venv/.installed-dev

clean:
	rm -rf .venv build
