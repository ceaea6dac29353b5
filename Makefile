# make demo   sets everything up and runs the whole path on a small model: export, verify, run, compare
# make test   sets everything up and runs all tests
# make lint   ruff, mypy and clang-format
# make docs   regenerates docs/operators.md and the screenshots
# make clean  removes what was built; make distclean also removes the virtual environment
#
# Needs Python 3.11 or newer with venv, a C++17 compiler and make. On Debian and Ubuntu, as root, missing packages are
# installed. Everything else goes into .venv. Settings: PYTHON=python3.12, VENV=.venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WHEELS := build/wheel
SOURCES := pyproject.toml CMakeLists.txt \
	$(shell find ivit_onnx exporters custom_ops cmake -type f -not -path '*/__pycache__/*' -not -name '*.so')

# $(call need,PACKAGE) installs a Debian package where that is possible, and says what to install where it is not.
need = { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing $(1)"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	--no-install-recommends $(1) >/dev/null; else echo "$(1) is missing. On Debian and Ubuntu: apt-get install $(1)" >&2; \
	false; fi; }

# $(call install,EXTRAS) installs the wheel that was built, with extras.
install = $(BIN)/python -m pip install --quiet --force-reinstall --no-deps $(WHEELS)/*.whl && \
	$(BIN)/python -m pip install --quiet "$$(echo $(WHEELS)/*.whl)[$(1)]"

.PHONY: help demo test lint docs clean distclean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

# The safe path keeps the source tree out of subprocesses: what is tested is the installed package.
test: $(VENV)/.dev $(VENV)/.browser
	PYTHONSAFEPATH=1 $(BIN)/pytest

lint: $(VENV)/.dev
	PATH="$(abspath $(BIN)):$$PATH" pre-commit run --all-files

docs: $(VENV)/.dev $(VENV)/.browser
	$(BIN)/python -P -m ivit_onnx.opset.document
	IVIT_SCREENSHOTS=docs/images $(BIN)/pytest tests/test_netron.py

# -- set-up: each stamp is remade only when what it stands on has changed

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || $(call need,python3)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not " + sys.version.split()[0] if \
	sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call need,python3-venv)
	@command -v c++ >/dev/null || $(call need,g++)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(WHEELS)/.built: $(SOURCES) $(VENV)/.created
	@rm -rf $(WHEELS) && mkdir -p $(WHEELS)
	@echo "building the wheel with the native library"
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(WHEELS) .
	@touch $@

$(VENV)/.demo: $(WHEELS)/.built
	@echo "installing; the first time PyTorch is downloaded, which can be several gigabytes"
	$(call install,cpu$(comma)export)
	$(BIN)/python -m pip install --quiet scikit-learn
	@touch $@

$(VENV)/.dev: $(WHEELS)/.built
	@echo "installing; the first time PyTorch is downloaded, which can be several gigabytes"
	$(call install,cpu$(comma)export$(comma)dev)
	@touch $@

# The Netron test needs a browser; without one it is skipped, so this never fails.
$(VENV)/.browser: $(VENV)/.created
	@command -v chromium chromium-browser google-chrome >/dev/null || $(call need,chromium fonts-dejavu-core) || \
	echo "no Chromium: the Netron test will be skipped"
	@touch $@

comma := ,

clean:
	rm -rf build dist out .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
