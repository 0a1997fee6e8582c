# make demo    publish models of all nine classic formats, list them, copy one, fetch it, compare bytes
# make test    every test that needs no cluster
# make check   style, types, direction of imports, generated files
# make golden  render the WorkflowTemplates, the CRD and the chart again, after a change of workflows/templates/ or api/modeljob/
# make bench   figures against peers, as ratios
# make images  container images, all or IMAGES="steps convert", with docker, podman or buildah
# make cluster a Kubernetes in Docker with Argo and Klever, by kind
# make test-cluster   the tests that need the Kubernetes with Argo that KUBECONFIG names
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# What pytest gets besides the defaults, e.g. make test PYTEST="-k onnx".
PYTEST ?=
# Which images, all of them by default; what they are called; another base than the pinned one.
IMAGES ?=
PREFIX ?= docker.io/klever/
TAG ?= dev
BASE ?=

.PHONY: demo test test-cluster check bench format generate golden images cluster clean

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# mypy does not follow the editable install's import hook: show it the packages under their names.
	mkdir -p $(VENV)/typing/klever
	for room in api steps workflows; do ln -sfn "$(CURDIR)/$$room" $(VENV)/typing/klever/$$room; done
	$(BIN)/python -m compileall -q api steps workflows
	touch $@

demo: $(VENV)/.ready
	PATH="$(abspath $(BIN)):$$PATH" ./examples/demo.sh

# Without a cluster, whatever the shell has: nobody expects `make test` to write into one.
test: $(VENV)/.ready
	env -u KUBECONFIG $(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST)

# The cluster's nodes have Klever's images with the tag KLEVER_TEST_IMAGE_TAG, by default dev, as after `make cluster`
# (then KUBECONFIG=~/.kube/config), and docker.io/klever/comparison:dev, made from tests/workflows/comparison/image.
# Where the nodes have only some of the images, KLEVER_TEST_IMAGES names them. KLEVER_CLUSTER_HOST_IP, where it is set, is how a pod reaches this machine; without
# it the registry of the tests runs in the cluster, and the tests that hold its requests do not run.
# A module's tests share a namespace; two at a time, for most of their time they wait.
test-cluster: $(VENV)/.ready
	KLEVER_TEST_CLUSTER=1 $(BIN)/python -m pytest -m cluster --numprocesses 2 --dist loadfile $(PYTEST) tests

check: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p klever.steps -p klever.workflows -p klever.api
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m klever.workflows.templates.golden --check
	$(BIN)/python -m klever.api.modeljob.crd --check
	$(BIN)/python charts/generate.py --check

format: $(VENV)/.ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: $(VENV)/.ready
	$(BIN)/python docs/generate.py

golden: $(VENV)/.ready
	$(BIN)/python -m klever.workflows.templates.golden
	$(BIN)/python -m klever.api.modeljob.crd
	$(BIN)/python charts/generate.py

bench: $(VENV)/.ready
	$(BIN)/python bench/run.py

images:
	$(PYTHON) images/build.py $(IMAGES) --tag "$(TAG)" --prefix "$(PREFIX)" $(if $(BASE),--base "$(BASE)")

cluster: $(VENV)/.ready
	IMAGES="$(IMAGES)" TAG="$(TAG)" PYTHON="$(PYTHON)" BIN="$(abspath $(BIN))" ./images/cluster.sh

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
