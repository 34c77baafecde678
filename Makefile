# Two commands: `make demo` shows a rotation, `make test` passes the tests. Both set up what they need first.
PYTHON ?= python3.11
VENV := .venv
PROXY := .proxy
PROXY_FILE := .proxy-file
COMPAT := .compat
LEAKS := .leaks
VENDORS := .vendors
UV := .uv/bin/uv
RUN := $(VENV)/bin

.PHONY: setup demo up test test-e2e test-compat chaos bench docs unit model seeded soak lint types contracts lock clean

setup: $(VENV)/.ready $(PROXY)/.ready

.uv/.ready: locks/uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed; name it with: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@touch $@

# With bytecode: some hundred programs are started by the tests, and without it each compiles what it imports.
$(VENV)/.ready: .uv/.ready locks/keyturn.txt pyproject.toml
	$(UV) venv --quiet --clear --python $(PYTHON) $(VENV)
	$(UV) pip install --quiet --compile-bytecode --python $(RUN)/python --require-hashes -r locks/keyturn.txt
	$(UV) pip install --quiet --compile-bytecode --python $(RUN)/python --no-deps --editable .
	@touch $@

$(PROXY)/.ready: .uv/.ready locks/litellm.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(PROXY)
	$(UV) pip install --quiet --compile-bytecode --python $(PROXY)/bin/python --require-hashes -r locks/litellm.txt
	@touch $@

# A later LiteLLM, for the tests of `--deliver file` alone.
$(PROXY_FILE)/.ready: .uv/.ready locks/litellm-file.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(PROXY_FILE)
	$(UV) pip install --quiet --compile-bytecode --python $(PROXY_FILE)/bin/python --require-hashes -r locks/litellm-file.txt
	@touch $@

# The oldest and the newest LiteLLM that are supported: .compat/oldest, .compat/newest.
$(COMPAT)/%/.ready: .uv/.ready locks/litellm-%.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	$(UV) pip install --quiet --compile-bytecode --python $(@D)/bin/python --require-hashes -r locks/litellm-$*.txt
	@touch $@

# The scanners of the leak suite's second net. Both packages bring a program `gitleaks`: each is run by its own path.
$(LEAKS)/.ready: .uv/.ready locks/leaks.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(LEAKS)
	$(UV) pip install --quiet --compile-bytecode --python $(LEAKS)/bin/python --require-hashes -r locks/leaks.txt
	@touch $@

# The vendors' own SDKs: they drive our simulators, unchanged (tests/sdk).
$(VENDORS)/.ready: .uv/.ready locks/vendors.txt
	$(UV) venv --quiet --clear --python $(PYTHON) $(VENDORS)
	$(UV) pip install --quiet --compile-bytecode --python $(VENDORS)/bin/python --require-hashes -r locks/vendors.txt
	@touch $@

demo: setup
	$(RUN)/keyturn demo

up: setup
	$(RUN)/keyturn demo --keep

# Two at a time. Those with real servers share them, one session of each in each process (tests/conftest.py).
test: setup $(LEAKS)/.ready $(PROXY_FILE)/.ready $(VENDORS)/.ready lint types contracts unit model seeded
	$(RUN)/pytest -m real -n 2 --dist loadfile --no-loadscope-reorder --durations 20 --durations-min 30

# Whole installations from outside: a person at Prefect's UI in a real browser (README: Debian's chromium).
test-e2e: setup
	$(RUN)/pytest -v -m e2e

# What hangs on LiteLLM's version, on each that is supported (docs/compatibility.md): a quarter of an hour.
test-compat: setup $(PROXY_FILE)/.ready $(COMPAT)/oldest/.ready $(COMPAT)/newest/.ready
	@failed=; for each in $(COMPAT)/oldest $(PROXY) $(COMPAT)/newest $(PROXY_FILE); do \
		LITELLM_LOCAL_MODEL_COST_MAP=True $$each/bin/litellm --version; \
		KEYTURN_LITELLM=$(CURDIR)/$$each/bin/litellm $(RUN)/pytest -q -m compat || failed="$$failed $$each"; \
	done; test -z "$$failed" || { echo "failed with:$$failed"; exit 1; }

# Rotations under every fault: hours. docs/testing.md tells what its table means.
chaos: setup
	$(RUN)/python -m tests.chaos --size full

# The scoreboard: bench/results.json and its page. Hours; docs/testing.md tells what of it takes them.
bench: setup
	$(RUN)/python -m bench

# Without a server.
unit: $(VENV)/.ready
	$(RUN)/pytest -q -m "not real and not model and not seeded and not compat and not e2e" -n 2

# Five thousand histories; KEYTURN_SEED=N plays others.
model: $(VENV)/.ready
	$(RUN)/pytest -v -m model -n 2

# Bugs that are put into copies of the project: each has to turn its test red.
seeded: $(VENV)/.ready
	$(RUN)/pytest -q -m seeded -n 2

# Histories for an hour, from a seed that it prints: make soak SECONDS=600 SEED=7
soak: $(VENV)/.ready
	$(RUN)/python -m tests.model --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/.ready
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(VENV)/.ready
	$(RUN)/mypy

contracts: $(VENV)/.ready
	$(RUN)/lint-imports

# The page that is made of what the adapters tell of themselves, then all pages, into var/site: a dead link is a failure.
docs: $(VENV)/.ready
	$(RUN)/keyturn providers --page > docs/providers.md
	$(RUN)/mkdocs build --strict --quiet

# Locks carry hashes and no download address, so that they serve behind any mirror of PyPI.
lock: .uv/.ready
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra demo --extra server --group pyproject.toml:dev -o locks/keyturn.txt pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra server -c locks/keyturn.txt -o locks/runtime.txt pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o locks/litellm.txt locks/litellm.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o locks/litellm-oldest.txt locks/litellm-oldest.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade -o locks/litellm-newest.txt locks/litellm-newest.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --override locks/litellm-file.overrides -o locks/litellm-file.txt locks/litellm-file.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o locks/uv.txt locks/uv.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o locks/leaks.txt locks/leaks.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o locks/vendors.txt locks/vendors.in

clean:
	rm -rf $(VENV) $(PROXY) $(PROXY_FILE) $(COMPAT) $(LEAKS) $(VENDORS) .uv var
