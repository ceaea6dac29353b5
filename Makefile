# make demo   sets everything up and runs the whole path on a small model: export, verify, run, compare
# make test   sets everything up and runs all tests
# make gpu    compiles the library for GPUs into build/gpu; make gpu ARCHITECTURES=all for every architecture
# make fuzz   looks for errors with random models, inputs and files; FUZZ_SECONDS=600 for each kind
# make coverage  looks for files that reach new code, in readers and in the library; FUZZ_SECONDS=600 for each kind
# make sanitize  runs tests of kernels and sessions with the address, undefined-behaviour and thread sanitizers;
#             sanitize-address and sanitize-thread are its two halves; the first with BRIEF=1 takes three minutes
# make soak   many threads on one session, many sessions at once; SOAK_MINUTES=20 in all
# make leaks  memory after 1000 sessions of each kind, and memory that was lost
# make wheel  builds dist/*.whl for CPUs, with a manylinux tag, and checks it; make wheel-gpu the one for GPUs too
# make sdist  builds dist/*.tar.gz, and from it, without a network, a wheel
# make matrix installs the wheel beside the oldest and the newest packages, with every Python found here, and tests it
# make lint   ruff, mypy and clang-format; nothing is compiled for it
# make docs   regenerates docs/operators.md, tables of other pages, the contracts and flat patterns for C++, and the screenshots
# make clean  removes what was built; make distclean also removes the virtual environment
#
# Needs Python 3.11 or newer with venv, a C++17 compiler and make. On Debian and Ubuntu, as root, missing packages are
# installed. Everything else goes into .venv and build. Settings: PYTHON=python3.12, VENV=.venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WHEELS := build/wheel
SOURCES := pyproject.toml CMakeLists.txt THIRD_PARTY.md $(wildcard licenses/*.txt) \
	$(shell find ivit_onnx exporters custom_ops cmake -type f -not -path '*/__pycache__/*' -not -name '*.so')
NATIVE_SOURCES := $(filter CMakeLists.txt custom_ops/% cmake/%,$(SOURCES))
EMULATOR := build/emulator
GPU := build/gpu$(if $(filter all,$(ARCHITECTURES)),-all)
ARCHITECTURES ?= 80;90a-real

# $(call need,PACKAGE) installs a Debian package where that is possible, and says what to install where it is not.
need = { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing $(1)"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	--no-install-recommends $(1) >/dev/null; else echo "$(1) is missing. On Debian and Ubuntu: apt-get install $(1)" >&2; \
	false; fi; }

# $(call install,EXTRAS) installs the wheel that was built, with extras.
install = $(BIN)/python -m pip install --quiet --force-reinstall --no-deps $(WHEELS)/*.whl && \
	$(BIN)/python -m pip install --quiet "$$(echo $(WHEELS)/*.whl)[$(1)]"

.PHONY: help demo test gpu wheel wheel-gpu sdist matrix fuzz coverage sanitize sanitize-address sanitize-thread soak leaks lint docs clean distclean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

# The safe path keeps the source tree out of subprocesses: what is tested is the installed package.
test: $(VENV)/.dev $(VENV)/.browser $(EMULATOR)/.built
	$(call with_libraries) PYTHONSAFEPATH=1 OMP_NUM_THREADS=1 $(BIN)/pytest $(parallel)

# A process of tests for each core, four at most: some need 3 GB. One that is done takes over from the others.
parallel := --numprocesses auto --maxprocesses 4 --dist worksteal

# The libraries that tests of the GPU part look for; those that are not built are skipped and counted.
with_libraries = IVIT_EMULATED_LIBRARY=$(abspath $(EMULATOR))/libivit_cuda_emulated.so \
	IVIT_EMULATOR_TEST=$(abspath $(EMULATOR))/emulator_test \
	IVIT_CUDA_LIBRARY=$(abspath $(GPU))/libivit_ort.so IVIT_STAGED_LIBRARY=$(abspath $(GPU))/libivit_cuda_staged.so

gpu: $(GPU)/.built

FUZZ_SECONDS ?= 600
SOAK_MINUTES ?= 20
LEAK_SESSIONS ?= 1000
in_tests = PYTHONPATH=$(abspath tests) OMP_NUM_THREADS=1 $(BIN)/python -P -m

fuzz: $(VENV)/.dev
	$(in_tests) fuzz all --seconds $(FUZZ_SECONDS) --findings build/findings

soak: $(VENV)/.dev
	$(in_tests) fuzz.soak --minutes $(SOAK_MINUTES)

leaks: $(VENV)/.dev build/sanitize-address/.built
	$(in_tests) fuzz.leaks --sessions $(LEAK_SESSIONS)
	$(call sanitized,address,$(asan)) -m fuzz.lost_memory --sessions $(LEAK_SESSIONS)

COVERAGE := checkpoint cache model session
coverage: $(VENV)/.dev $(VENV)/.atheris build/sanitize-fuzzer/.built
	@mkdir -p build/findings
	for kind in $(COVERAGE); do $(call sanitized,fuzzer,$(fuzzer)) -m fuzz.coverage_guided $$kind build/corpus/$$kind \
	-max_total_time=$(FUZZ_SECONDS) -timeout=60 -rss_limit_mb=8192 -artifact_prefix=build/findings/$$kind-; done

# Memory that grows is not for the address sanitizer, which keeps what was freed.
ADDRESSED := not example and not sanitizer and not growth$(if $(BRIEF), and not variant_equals)
# The thread sanitizer has to do with tests that use threads; it makes them ten times slower.
THREADED := several_threads or takes_more_rows or concurrent or batches_of_every_size or equals_function_bodies
sanitize: sanitize-address sanitize-thread

sanitize-address: $(VENV)/.dev build/sanitize-address/.built
	$(call sanitized,address,$(asan)) -m pytest -q $(parallel) tests/test_kernels.py tests/test_kernel_errors.py \
	tests/test_provider.py tests/test_hostile_models.py -k "$(ADDRESSED)"
	$(call sanitized,address,$(asan)) -m fuzz hostile_models --seed 1 --cases $(if $(BRIEF),100,300) \
	--findings build/findings

sanitize-thread: $(VENV)/.dev build/sanitize-thread/.built
	$(call sanitized,thread,$(tsan)) -m pytest -q tests/test_kernels.py tests/test_provider.py -k "$(THREADED)"

# $(call sanitized,KIND,RUNTIME) is Python with a sanitizer's run-time library and our library built with it.
sanitized = IVIT_SANITIZER=$(1) PYTHONPATH=$(abspath build/sanitize-$(1)/package):$(abspath tests) PYTHONSAFEPATH=1 \
	OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	TSAN_OPTIONS=suppressions=$(abspath tests/fuzz/thread_sanitizer.txt) \
	LD_PRELOAD="$(2) $$(c++ -print-file-name=libstdc++.so)" $(BIN)/python -P
asan = $$(c++ -print-file-name=libasan.so)
tsan = $$(c++ -print-file-name=libtsan.so)
# That of atheris, with libFuzzer in it, which looks for a mutator when it is loaded.
fuzzer = $$($(BIN)/python -c "import atheris; print(atheris.path())")/asan_with_fuzzer.so \
	$$($(BIN)/python -c "from atheris import custom_mutator; print(custom_mutator.__file__)")

checks_address := address,undefined
checks_thread := thread
checks_fuzzer := address,undefined,fuzzer-no-link -DCMAKE_CXX_COMPILER=clang++

# The package as links to its sources, with a library of its own.
build/sanitize-%/.built: $(NATIVE_SOURCES) $(VENV)/.cmake
	@mkdir -p build && echo "building the library with sanitizers: $*"
	@[ $* != fuzzer ] || command -v clang++ >/dev/null || $(call need,clang)
	@$(call cmake,$(@D),-DIVIT_CUDA=OFF -DIVIT_SANITIZE=$(checks_$*)) >/dev/null
	@rm -rf $(@D)/package && mkdir -p $(@D)/package && cp -rs $(abspath ivit_onnx) $(@D)/package/
	@ln -s $(abspath exporters) $(@D)/package/ivit_onnx/exporters && mkdir -p $(@D)/package/ivit_onnx/lib
	@ln -sf $(abspath $(@D))/libivit_ort.so $(@D)/package/ivit_onnx/lib/
	@touch $@

$(VENV)/.atheris: $(VENV)/.created
	$(BIN)/python -m pip install --quiet atheris
	@touch $@

# Nothing is built: types are checked in the tree. Where the tests have been set up, nothing is installed either.
lint: $(VENV)/.checkers
	PATH="$(abspath $(BIN)):$$PATH" pre-commit run --all-files

docs: $(VENV)/.dev $(VENV)/.browser
	$(BIN)/python -P -m ivit_onnx.opset.generators.operators_page
	$(BIN)/python -P -m ivit_onnx.opset.generators.contracts
	$(BIN)/python -P -m ivit_onnx.opset.generators.patterns
	$(BIN)/python -P -m ivit_onnx.opset.generators.standard_versions
	$(BIN)/python -P -m ivit_onnx.opset.generators.definitions
	$(BIN)/python -P -m ivit_onnx.checkpoints.models_page
	$(BIN)/python -P -m ivit_onnx.cli.usage_page
	$(BIN)/python -P -m ivit_onnx.bench.baselines_page
	IVIT_SCREENSHOTS=docs/images $(BIN)/pytest tests/test_netron.py tests/test_report_page.py

# -- set-up: each stamp is remade only when what it stands on has changed

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || $(call need,python3)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not " + sys.version.split()[0] if \
	sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call need,python3-venv)
	@command -v c++ >/dev/null || $(call need,g++)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# $(call cpu_wheel,FOLDER,MANYLINUX) builds a wheel; what was compiled for the last one and has not changed is used again.
cpu_wheel = rm -rf $(1) && mkdir -p $(1) && PATH="$(abspath $(BIN)):$$PATH" pip wheel --quiet --no-deps \
	--no-build-isolation --wheel-dir $(1) -C cmake.define.IVIT_CUDA=OFF -C cmake.define.IVIT_MANYLINUX=$(2) .

$(WHEELS)/.built: $(SOURCES) $(VENV)/.cmake
	@echo "building the wheel with the native library"
	$(call cpu_wheel,$(WHEELS),OFF)
	@touch $@

$(VENV)/.cmake: $(VENV)/.created
	$(BIN)/python -m pip install --quiet cmake ninja scikit-build-core
	@touch $@

# $(call cmake,FOLDER,OPTIONS) configures and builds the native part alone.
cmake = PATH="$(abspath $(BIN)):$$PATH" && cmake -S . -B $(1) -G Ninja $(2) >$(1).log && cmake --build $(1) || \
	{ cat $(1).log >&2; false; }

# The GPU's kernels on the emulator, for tests.
$(EMULATOR)/.built: $(NATIVE_SOURCES) $(VENV)/.cmake
	@mkdir -p build && echo "building the GPU's kernels for the emulator"
	@$(call cmake,$(EMULATOR),-DIVIT_EMULATOR=ON -DIVIT_CUDA=OFF) >/dev/null
	@touch $@

# Where there is no CUDA compiler, the one of the Python package index is used. nvcc looks for its libraries in lib64.
CUDA_VERSION := 13.0
TOOLKIT := build/cuda-$(CUDA_VERSION)
$(TOOLKIT)/.installed: $(VENV)/.created
	$(BIN)/python -m pip install --quiet --no-deps --target $(TOOLKIT) $(foreach part,cuda-nvcc cuda-crt nvvm \
	cuda-runtime cuda-cccl,"nvidia-$(part)==$(CUDA_VERSION).*")
	@ln -sfn lib $(TOOLKIT)/nvidia/cu13/lib64
	@touch $@

# $(call with_nvcc) finds the CUDA compiler, or brings it.
with_nvcc = if ! command -v "$${CUDACXX:-nvcc}" >/dev/null; then $(MAKE) --no-print-directory $(TOOLKIT)/.installed && \
	export CUDACXX=$(abspath $(TOOLKIT))/nvidia/cu13/bin/nvcc; fi

$(GPU)/.built: $(NATIVE_SOURCES) $(VENV)/.cmake
	@mkdir -p build && echo "compiling for GPUs: $(ARCHITECTURES)"
	@$(call with_nvcc) && \
	$(call cmake,$(GPU),-DIVIT_CUDA=ON -DIVIT_STAGED=ON "-DIVIT_CUDA_ARCHITECTURES=$(ARCHITECTURES)")
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

$(VENV)/.checkers: pyproject.toml $(VENV)/.created
	@echo "installing; the first time PyTorch is downloaded, which can be several gigabytes"
	$(BIN)/python tools/requirements.py cpu export dev | $(BIN)/python -m pip install --quiet -r /dev/stdin
	@touch $@

# -- packages to give away

$(VENV)/.package: $(WHEELS)/.built
	$(BIN)/python -m pip install --quiet "$$(echo $(WHEELS)/*.whl)[package]"
	@touch $@

# $(call publish,FOLDER) has auditwheel give the folder's wheel the tag it has earned, and tests what came of it.
publish = rm -rf $(1)/repaired && PATH="$(abspath $(BIN)):$$PATH" auditwheel repair --wheel-dir $(1)/repaired $(1)/*.whl && \
	$(BIN)/twine check --strict $(1)/repaired/*.whl && \
	IVIT_WHEEL=$$(echo $(1)/repaired/*.whl) $(BIN)/pytest -q tests/test_wheel.py && \
	mkdir -p dist && cp $(1)/repaired/*.whl dist/ && ls -l dist/*.whl

wheel: $(VENV)/.package
	@echo "building the wheel that loads on older distributions"
	$(call cpu_wheel,build/wheel-cpu,ON)
	$(call publish,build/wheel-cpu)

WHEEL_ARCHITECTURES ?= all
wheel-gpu: $(VENV)/.package
	@rm -rf build/wheel-gpu && mkdir -p build/wheel-gpu
	@echo "building the wheel with kernels for GPUs: several minutes"
	@$(call with_nvcc) && IVIT_GPU_WHEEL=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel-gpu \
	-C build-dir=build/{wheel_tag}-gpu -C cmake.define.IVIT_CUDA=ON \
	-C "cmake.define.IVIT_CUDA_ARCHITECTURES=$(WHEEL_ARCHITECTURES)" -C cmake.define.IVIT_MANYLINUX=ON .
	$(call publish,build/wheel-gpu)

# ONNX Runtime's headers go into the sdist; the wheel is built from it where fetching is off.
sdist: $(VENV)/.package $(VENV)/.cmake
	@rm -rf build/sdist && mkdir -p build/sdist
	@trap 'rm -rf third_party' EXIT && PATH="$(abspath $(BIN)):$$PATH" && cmake -S . -B build/sdist/headers -G Ninja \
	-DIVIT_CUDA=OFF -DIVIT_COPY_HEADERS=$(abspath third_party/onnxruntime) >build/sdist/log && \
	$(BIN)/python -m build --sdist --outdir build/sdist . >>build/sdist/log || { cat build/sdist/log >&2; false; }
	$(BIN)/twine check --strict build/sdist/*.tar.gz
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/sdist -C cmake.define.IVIT_CUDA=OFF \
	-C cmake.define.IVIT_FETCH_HEADERS=OFF -C cmake.define.IVIT_HEADER_CACHE=/nonexistent build/sdist/*.tar.gz
	IVIT_WHEEL=$$(echo build/sdist/*.whl) $(BIN)/pytest -q tests/test_wheel.py
	@mkdir -p dist && cp build/sdist/*.tar.gz dist/ && ls -l dist/*.tar.gz

matrix: $(VENV)/.package
	@ls dist/*[0-9]-py3-none-manylinux*.whl 2>/dev/null | grep -qv + || $(MAKE) --no-print-directory wheel
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tools/matrix.py $(MATRIX)

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
