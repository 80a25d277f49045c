# Developer entry points. Each target installs what it needs on its first run; later runs find it done.
# Needed on the machine: Python 3.11, 3.12 or 3.13 with venv, Node 20 or newer with npm, make.

# The virtual environment and, when it does not exist yet, the Python to make it with:
#   make test PYTHON=python3.12 VENV=.venv-3.12
VENV ?= .venv
PYTHON ?=
# Test processes side by side; much of a test's time is waiting.
JOBS ?= 4
# More arguments for pytest or the conformance run, as in: make test ARGS="-k poison --no-cov"
ARGS ?=

PY := $(VENV)/bin/python
STAGE := dev/checks/stage
UV_VERSION := 0.13.9
# The compiler that infra/snapshots was made with.
BICEP_VERSION := 0.49.2
PYTHON_PACKAGES := $(VENV)/.installed
NODE_PACKAGES := node_modules/.installed
CONFORMANCE_VENV := .venv-conformance
CLIENTS := $(CONFORMANCE_VENV)/.installed
SECURITY_VENV := .venv-security
POLICIES := $(SECURITY_VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What a newcomer needs; the help starts with it. The other targets follow under the headings (`## …`) of this file.
FIRST := demo test up check

.PHONY: help
help:
	@printf 'Groundswell: rebuild team images when their base image is pushed\n'
	@awk -F ':.*## ' -v first='$(FIRST)' ' \
	    function line(name) { return sprintf("  make %-15s %s\n", name, what[name]) } \
	    /^## / { heading = substr($$0, 4) } \
	    /^[a-z-]+:.*## / { what[$$1] = $$2; names[++count] = $$1; under[$$1] = heading } \
	    END { \
	        printf "\nStart with\n"; \
	        for (i = 1; i <= split(first, wanted, " "); i++) { printf "%s", line(wanted[i]); told[wanted[i]] = 1 } \
	        for (i = 1; i <= count; i++) if (!(names[i] in told)) { \
	            if (under[names[i]] != last) printf "\n%s\n", last = under[names[i]]; \
	            printf "%s", line(names[i]) \
	        } \
	    }' $(MAKEFILE_LIST)

## Using it

.PHONY: demo
demo: setup ## Play the whole scenario on a local Azure, with a timeline
	@$(PY) -m dev.demo

.PHONY: up
up: setup ## Start everything and leave it running to play with (Ctrl-C ends it)
	@$(PY) -m dev.demo up $(ARGS)

.PHONY: azure
azure: setup ## Start the local Azure alone and print its environment (Ctrl-C ends it)
	@$(PY) -m dev.localazure

# What `UseDevelopmentStorage=true` means, on its usual ports. The storage SDKs of the app and of the Functions host are
# newer than Azurite: https://github.com/Azure/Azurite#skip-api-version-check
.PHONY: storage
storage: $(NODE_PACKAGES) ## Start Azurite alone, for `func start`; it forgets everything at its end (Ctrl-C)
	@node_modules/.bin/azurite --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent

## Deploying it

.PHONY: package
package: $(PYTHON_PACKAGES) ## Make the deployment package, dist/groundswell.zip, and say what is in it
	@$(PY) dev/checks/package.py $(ARGS)

.PHONY: smoke
smoke: ## Try a deployment in Azure with a throw-away registry (ARGS=--help tells more; ARGS=--yes does it)
	@infra/smoke $(ARGS)

## Working on it

.PHONY: test
test: setup ## Run the tests with coverage
	@$(PY) -m pytest --cov -n $(JOBS) --dist worksteal $(ARGS)

# The tests under faults in their long form: new scripts each time, a larger fleet, both kinds of identities.
.PHONY: soak
soak: setup ## Run the tests under faults for long (SCRIPTS=500 KILLS=50 SEED=1)
	@GROUNDSWELL_FAULT_SCRIPTS=$(or $(SCRIPTS),500) GROUNDSWELL_FAULT_KILLS=$(or $(KILLS),50) \
	    GROUNDSWELL_FAULT_SEED=$(or $(SEED),1) $(PY) -m pytest tests/faults $(ARGS)

# Real clients against the local Azure. They are installed beside the project: the Azure CLI pins other packages than
# the app does, and skopeo is Debian's. Where skopeo cannot be installed, its rows say so.
.PHONY: conformance skopeo
conformance: setup $(CLIENTS) skopeo ## Run the real Azure CLI and container clients against the local Azure
	@$(PY) -m dev.conformance $(ARGS)

skopeo:
	@command -v skopeo >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || \
	    $(STAGE) "skopeo" sh -c 'install="apt-get install --yes --no-install-recommends skopeo"; \
	        $$install || { apt-get update && $$install; }' || true

# The Azure CLI's rows are measured where it is installed.
.PHONY: bench
bench: setup ## Measure Groundswell beside what bounds it (ONLY="hosts sweep": some scenarios; ARGS=--help lists them)
	@$(PY) -m dev.bench $(ONLY) $(ARGS)

.PHONY: check check-format check-lint check-types check-imports check-requirements check-infra check-shell check-workflows
check: check-format check-lint check-types check-imports check-requirements check-infra check-shell check-workflows ## Run every static check

check-format: $(PYTHON_PACKAGES)
	@$(STAGE) "format" $(PY) -m ruff format --check --diff

check-lint: $(PYTHON_PACKAGES)
	@$(STAGE) "lint" $(PY) -m ruff check

check-types: $(PYTHON_PACKAGES)
	@$(STAGE) "types" $(PY) -m mypy

check-imports: $(PYTHON_PACKAGES)
	@$(STAGE) "import contracts" $(VENV)/bin/lint-imports --no-cache

check-requirements: $(PYTHON_PACKAGES)
	@$(STAGE) "requirements" $(PY) dev/checks/check_requirements.py

# What infra/ makes, against the code, the documents and what Azure takes; and whether the compiler still says so, where
# there is one. No subscription is needed.
INFRA_TESTS := $(patsubst %,tests/infra/test_%.py,resources rights app_settings event_subscriptions alerts)
check-infra: $(PYTHON_PACKAGES)
	@$(STAGE) "infra" $(PY) -m pytest $(INFRA_TESTS) --quiet --no-cov -p no:cacheprovider
	@if command -v bicep >/dev/null; then $(STAGE) "infra, as the Bicep compiler sees it" $(PY) -m dev.checks.snapshots validate; \
	    else $(PY) -m dev.checks.snapshots validate; fi

.PHONY: infra-snapshots bicep-version
infra-snapshots: $(PYTHON_PACKAGES) ## Evaluate infra/ anew into infra/snapshots, after a change there (needs bicep)
	@$(STAGE) "snapshots of infra" $(PY) -m dev.checks.snapshots renew

bicep-version:
	@echo $(BICEP_VERSION)

.PHONY: policy-schema
policy-schema: $(PYTHON_PACKAGES) ## Write policy/rebuilds.schema.json anew, after a change of the policy's model
	@$(STAGE) "schema of the policy" $(PY) -m dev.checks.policy_schema

check-shell: $(PYTHON_PACKAGES)
	@$(STAGE) "shell scripts" $(VENV)/bin/shellcheck .ci/run infra/hooks/*.sh dev/checks/find-python infra/smoke dev/checks/stage

check-workflows: $(PYTHON_PACKAGES)
	@$(STAGE) "workflows" $(VENV)/bin/zizmor --offline --quiet --persona auditor .github
	@$(STAGE) "schema of workflows" $(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(STAGE) "schema of dependabot.yml" $(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

# checkov and azure-functions-doctor, beside the project: they pin other packages than the app does.
.PHONY: check-security
check-security: $(PYTHON_PACKAGES) $(POLICIES) ## Check infra/ and the app by policies that others wrote
	@$(STAGE) "security policies" $(PY) -m dev.checks.check_security $(SECURITY_VENV)/bin

.PHONY: format
format: $(PYTHON_PACKAGES) ## Format the code and apply the safe fixes of the linter
	@$(PY) -m ruff format
	@$(PY) -m ruff check --fix

.PHONY: requirements
requirements: $(PYTHON_PACKAGES) ## Compile requirements*.in into pinned requirements*.txt (UPGRADE=1: newest versions)
	@$(STAGE) "uv" $(PY) -m pip install "uv==$(UV_VERSION)"
	@for name in requirements requirements-dev dev/conformance/requirements dev/checks/security/requirements; do \
	    $(STAGE) "$$name.txt" $(PY) -m uv pip compile $$name.in --output-file $$name.txt $(if $(UPGRADE),--upgrade) \
	        --universal --python-version 3.11 --annotation-style line --custom-compile-command "make requirements" \
	        --no-emit-index-url --no-emit-find-links || exit; \
	done

## Setting up and cleaning up

.PHONY: setup
# In this order: a Python or a Node that does not do is said before anything long.
setup: $(PY) $(NODE_PACKAGES) $(PYTHON_PACKAGES) ## Install what the other targets need (they do so by themselves)

.PHONY: clean distclean
clean: ## Remove caches and coverage data
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	@find . -name __pycache__ -not -path './.venv*' -not -path './node_modules/*' -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environments and node_modules too
	@rm -rf .venv .venv-* node_modules

# What is installed is remembered by stamp files, newer than the lists that they were installed from.

$(PY):
	@python="$$(dev/checks/find-python $(PYTHON))" && \
	    $(STAGE) "virtual environment $(VENV) with $$($$python --version)" $$python -m venv $(VENV)

$(PYTHON_PACKAGES): requirements.txt requirements-dev.txt | $(PY)
	@$(STAGE) "Python packages" $(PY) -m pip install --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

$(NODE_PACKAGES): package.json package-lock.json
	@node -e 2>/dev/null 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' && command -v npm >/dev/null || \
	    { echo "Node 20 or newer with npm is needed, for Azurite; see https://nodejs.org/download." >&2; exit 1; }
	@$(STAGE) "Azurite" npm ci
	@touch $@

$(CLIENTS): dev/conformance/requirements.txt | $(PY)
	@$(STAGE) "virtual environment $(CONFORMANCE_VENV)" $(PY) -m venv $(CONFORMANCE_VENV)
	@$(STAGE) "Azure CLI" $(CONFORMANCE_VENV)/bin/python -m pip install --disable-pip-version-check --requirement $<
	@touch $@

$(POLICIES): dev/checks/security/requirements.txt | $(PY)
	@$(STAGE) "virtual environment $(SECURITY_VENV)" $(PY) -m venv $(SECURITY_VENV)
	@$(STAGE) "checkov and azure-functions-doctor" $(SECURITY_VENV)/bin/python -m pip install \
	    --disable-pip-version-check --requirement $<
	@touch $@
