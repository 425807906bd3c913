# `make demo` and `make test` do all set-up on a fresh machine; both use the environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
SGLANG := .sglang
SERVERS := .venv-servers
LOWEST := .venv-lowest
PORT ?= 8000
# Processes that run tests; most tests wait for processes of their own.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal
# The demo's own compile cache and journals, so that the second start is warm and shows the first.
DEMO := .demo

.PHONY: demo test quick test-long test-servers test-torch test-vllm test-lowest lint wheel generate benchmark clean

demo: $(VENV)/demo
	TORCHINDUCTOR_CACHE_DIR=$(CURDIR)/$(DEMO)/cache \
	$(BIN)/compilespan serve --port $(PORT) --state-dir $(DEMO)/state

test: quick
	$(PYTEST) -m "not quick and not long" --ignore tests/servers

# Fleets of replicas that compile, long histories, thousands of graphs.
test-long: $(VENV)/ready
	$(PYTEST) -m long

# Unit tests that start no process and do not need inductor; two minutes.
quick: lint
	$(PYTEST) -m quick tests/instrumentation tests/service

# Model servers with two workers: those among the test requirements, or with NAME=rq another one, in
# an environment of its own.
test-servers: $(VENV)/ready
ifdef NAME
	PYTHON=$(PYTHON) tests/servers/install.sh $(SERVERS)/$(NAME) $(NAME)
	COMPILESPAN_SERVER_PYTHON=$(CURDIR)/$(SERVERS)/$(NAME)/bin/python \
	$(BIN)/python -m pytest tests/servers -k $(NAME)
else
	$(PYTEST) tests/servers -k "uvicorn or gunicorn or litserve"
endif

# Real vLLM (CPU build) in an environment of its own: 4 GB, some minutes. SGLang has no CPU build, so
# only its compile files are tested.
test-vllm: $(VENV)/ready $(VLLM)/ready $(SGLANG)/ready
	COMPILESPAN_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python COMPILESPAN_SGLANG=$(CURDIR)/$(SGLANG) \
	$(BIN)/python -m pytest tests/sglang tests/vllm

# The lowest declared versions, in an environment of its own: 5 GB if torch is the CUDA build.
test-lowest:
	PYTHON=$(PYTHON) tests/lowest.sh $(LOWEST)

# Another version of torch, in an environment of its own: make test-torch VERSION=2.14.1
test-torch:
	PYTHON=$(PYTHON) tests/torch.sh .venv-torch/$(VERSION) $(VERSION)

$(VLLM)/ready: tests/vllm/install.sh tests/vllm/versions pyproject.toml
	PYTHON=$(PYTHON) tests/vllm/install.sh $(VLLM)
	touch $@

$(SGLANG)/ready: tests/sglang/fetch.sh tests/sglang/versions
	PYTHON=$(PYTHON) tests/sglang/fetch.sh $(SGLANG)
	touch $@

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Write the generated files: dashboards, alert rules, and the references in docs.
generate: $(VENV)/ready
	$(BIN)/python -m grafana.source
	$(BIN)/python docs/generate_http.py
	$(BIN)/python docs/generate_telemetry.py
	$(BIN)/python docs/generate_settings.py
	$(BIN)/python docs/generate_runbook.py

# Measure the README's figures; takes about ten minutes on an idle machine.
benchmark: $(VENV)/ready
	$(BIN)/python -m benchmarks

wheel: $(VENV)/ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

clean:
	rm -rf $(VENV) $(VLLM) $(SGLANG) $(SERVERS) .venv-torch $(LOWEST) $(DEMO) dist

# One environment: first what the demo needs, then what tests and checks need.
$(VENV)/demo: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): once, about 1 GB on disk with the CPU build of torch (see README)."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/ready: $(VENV)/demo
	$(BIN)/python -m pip install --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[dev]'
	touch $@
