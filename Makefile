# The most important commands are `make demo` and `make test`. `make` lists all of them.
#
# Everything is installed into .venv (Python packages, kubectl) and ~/.cache/immutable-operator (the
# programs of the control plane, built from Go modules once).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The Python with which .venv is created; by default the first of these that is 3.11 or newer.
PYTHON ?=
PYTHONS := $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)
# A context of your kubeconfig: the demo then runs on your own cluster.
CONTEXT ?=

BIN := .venv/bin
PY := $(BIN)/python
CODE := $(wildcard operator gitops release tests benchmarks examples website)
CHART := charts/immutable-operator
# A checksum of everything that determines the content of .venv; its scripts contain the path.
PINS = { pwd -P; cat requirements-dev.txt pyproject.toml; } | cksum | cut -d' ' -f1
UV := uv==0.13.9
# REAL=1: the demo creates real nodes instead of simulated ones.
REAL ?=
# NODES=1: the demo shows a pool of nodes instead of a service.
NODES ?=
DEMO = $(PY) -m examples.demo $(if $(REAL),--real) $(if $(NODES),--nodes) \
  $(if $(CONTEXT),--context '$(subst ','\'',$(CONTEXT))')

define HELP
make demo                  show how the pods of a service are replaced, on a simulated cluster
make demo CONTEXT=<name>   the same on your own cluster (kind, minikube, any)
make demo REAL=1           the same on real nodes: kubelet and containerd (Linux, root)
make demo NODES=1          show how a node of a pool is replaced after a change in place
make demo-stop             stop the demo and delete its objects (CONTEXT, REAL as above)
make cluster               start a control plane with simulated nodes, for your own experiments
make cluster-stop          stop that control plane and delete it
make test                  run all checks and tests
make check                 check format, lint, types, unused code, layers, generated files, chart
make unit                  run the tests that need no cluster
make real                  run the tests on real nodes (Linux, root, packages.sh)
make image REGISTRY=<name> build the operator's image, push it, print the helm command
make release               build the files of a release and try all steps with a local registry
make score                 check the chart with kube-score (builds it once, 2 minutes)
make chart-lint            check the chart with ct, kubeconform and helm-docs (builds them once)
make chart-docs            write the chart's README from values.yaml (builds helm-docs once)
make monitoring            run the tests with Prometheus and promtool (builds them once, 6 minutes)
make gitops                run the tests with real Flux and Argo CD (builds them once, 15 minutes)
make gateway               run the tests of weights with a real gateway (builds Contour once, 3 minutes)
make browser               run the tests of the dashboard in a real browser (Chromium)
make faults                disturb the operator at each of its writes, and write a report (1 hour)
make soak HOURS=<number>   random users and faults for hours, and a report (SEED=<number>; default 2 hours)
make benchmarks            measure rollouts, ages, scale, admission and planning, and write
                           docs/performance.md
make mutants               plant bugs and check that the fast tests detect them (ONLY=<words>)
make mutants-sample        the same with a random sample of a tool's bugs (SAMPLE=<number>, SEED=<number>)
make crds                  generate the CRDs, the chart's policies, argocd-cm.yaml, the API reference and
                           the picture of the README
make docs                  build the documentation into build/site
make lock                  update the pinned dependencies within the limits of pyproject.toml

PYTHON=<program> selects the Python (3.11 or newer) with which .venv is created.
endef
export HELP
# Python keeps what it has compiled, also where an image says otherwise: tests start it a thousand times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:
	@echo "$$HELP"

.PHONY: demo
demo: venv
	@$(DEMO)

.PHONY: demo-stop
demo-stop: venv
	@$(DEMO) --stop

.PHONY: cluster
cluster: venv
	@$(PY) -m tests.controlplane start

.PHONY: cluster-stop
cluster-stop: venv
	@$(PY) -m tests.controlplane stop

# The tests that need no cluster.
FAST := $(wildcard tests/unit tests/wire tests/simulation)

# The programs are built before the tests, because the build shows its progress.
.PHONY: test
test: code
	@echo "== the control plane's programs (built once, about 17 minutes on two cores)"
	@$(PY) -m tests.controlplane build
	@$(MAKE) chart docs
	@echo "== tests (about 30 minutes on two cores)"
	@rm -f $(RETRIED)
	@$(MAKE) -k -j7 $(addsuffix -lane,cluster people real nodes apart slow rest releases faults)
	@echo "== all tests passed"

# Each lane has its own control plane; the lanes run in parallel, because tests mostly wait, and take
# about the same time. apart: the policies. slow: tests that wait for ages, leases and minutes.
# people: the plug-in, the dashboard and the commands of the documents. nodes: node pools. releases:
# releases, and what happens around them. faults: a few faults of each kind.
# real: on real nodes. cluster: all others with a control plane; its last test
# compares the permissions of the operator with those that it used in the lane. rest: the tests that
# need no cluster, and those of real nodes that start their own or need no operator.
in_cluster = $(patsubst %,tests/cluster/test_%.py,$(1))
APART := $(wildcard tests/cluster/test_policies_*.py) \
  $(call in_cluster,bed break_glass break_glass_input chart chart_values checks crds crds_nodepool guarded \
  karpenter_bed secret_pinning verify)
SLOW := $(call in_cluster,benchmarks break_glass_rotation catch_up cloud_reboot detection leadership \
  reflector regeneration restart stuck_release writes)
RELEASES := $(call in_cluster,admission_refuse chart_upgrade during_rollback examples gitops \
  rollback_records upgrade weights)
PEOPLE := $(wildcard tests/cluster/test_cli_*.py) \
  $(call in_cluster,convert dashboard docs exec migrate)
OWN_BEDS := $(patsubst %,tests/real/test_%.py,demo leftovers nodes operator_image)
GATEWAY := tests/real/gateway
# The tests of all lanes that passed only the second time (tests/flaky.py).
RETRIED := .pytest_cache/retried

.PHONY: cluster-lane
cluster-lane:
	@$(call lane,cluster,tests/cluster \
	  $(addprefix --ignore=,$(APART) $(SLOW) $(RELEASES) $(PEOPLE) \
	  $(addprefix tests/cluster/,nodes faults monitoring gitops browser)))

.PHONY: people-lane
people-lane:
	@$(call lane,people,$(PEOPLE))

.PHONY: rest-lane
rest-lane:
	@$(call lane,rest,$(FAST) $(OWN_BEDS))

.PHONY: apart-lane
apart-lane:
	@$(call lane,apart,$(APART))

.PHONY: slow-lane
slow-lane:
	@$(call lane,slow,$(SLOW))

.PHONY: nodes-lane
nodes-lane:
	@$(call lane,nodes,tests/cluster/nodes)

.PHONY: releases-lane
releases-lane:
	@$(call lane,releases,$(RELEASES))

.PHONY: faults-lane
faults-lane:
	@$(call lane,faults,tests/cluster/faults)

.PHONY: real-lane
real-lane:
	@$(call lane,real,tests/real $(addprefix --ignore=,$(OWN_BEDS) $(GATEWAY)))

# $(call lane,<name>,<arguments of pytest>): its output with the name in front of each line.
lane = ( mkdir -p .pytest_cache; { RETRIED=$(RETRIED) $(BIN)/pytest -o cache_dir=.pytest_cache/$(1) $(2); \
  echo $$? > .pytest_cache/$(1).code; } 2>&1 \
  | while IFS= read -r line; do printf '%s\n' "[$(1)] $$line"; done; \
  exit "$$(cat .pytest_cache/$(1).code)" )

.PHONY: real
real: venv
	@$(BIN)/pytest tests/real --ignore=$(GATEWAY)

# Contour and Envoy are no part of `make test`, where a stand-in accepts the routes.
.PHONY: gateway
gateway: venv
	@$(PY) -W ignore::RuntimeWarning -m tests.controlplane.build contour
	@$(BIN)/pytest $(GATEWAY)

.PHONY: monitoring
monitoring: venv
	@$(BIN)/pytest tests/cluster/monitoring

# The tools are built before the first test, once; they are no part of `make test`.
.PHONY: gitops
gitops: venv
	@$(PY) -W ignore::RuntimeWarning -m tests.controlplane.build \
	  source-controller kustomize-controller argocd argocd-redis
	@$(BIN)/pytest tests/cluster/gitops

# SCREENSHOT=docs/images/dashboard.png also writes the picture of the documentation.
.PHONY: browser
browser: venv
	@$(BIN)/pytest tests/cluster/browser

# More examples than in `make test`, others each time; what fails is printed with what reproduces it.
.PHONY: search
search: venv
	@HYPOTHESIS_EXAMPLES=$(or $(EXAMPLES),1000) $(BIN)/pytest $(wildcard tests/unit/test_*properties.py) \
	  tests/simulation/test_any_order.py

# The same examples each time, so that results are comparable: a fifth of those of `make test`. The
# folders in parallel: those of wire/ mostly wait.
.PHONY: unit
unit: export HYPOTHESIS_PROFILE = quick
unit: venv
	@$(MAKE) -k -j3 --output-sync=target $(addprefix unit-,$(FAST))

.PHONY: $(addprefix unit-,$(FAST))
$(addprefix unit-,$(FAST)): unit-%:
	@$(BIN)/pytest -o cache_dir=.pytest_cache/$* $*

# The report is build/faults.md. `make test` plays a few faults of each kind.
.PHONY: faults
faults: venv
	@FAULTS=all $(BIN)/pytest tests/cluster/faults

# The report is build/soak/soak.md; the same SEED repeats what is done, but not what it coincides with.
HOURS ?= 2
SEED ?=
.PHONY: soak
soak: venv
	@$(PY) -m tests.soak --hours $(HOURS) $(if $(SEED),--seed $(SEED))

# Takes half an hour; the bugs are in tests/mutants/planted.py.
ONLY ?=
.PHONY: mutants
mutants: venv
	@$(PY) -m tests.mutants $(ONLY)

# A sample of the bugs that a tool (mutmut) puts into domain/, the same ones for the same SEED. A
# sample of 300 takes an hour; the report is build/mutants.md.
SAMPLE ?= 300
.PHONY: mutants-sample
mutants-sample: venv mutants-venv
	@$(PY) -m tests.mutants.sample --count $(SAMPLE) $(if $(SEED),--seed $(SEED))

.PHONY: check
check: code chart docs

# The pages, their links and anchors: a few seconds.
.PHONY: docs
docs: venv
	@echo "mkdocs build --strict"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: code
code: venv
	@echo "== checks"
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/ruff check --quiet $(CODE)
	$(BIN)/mypy --strict --no-error-summary $(CODE)
	$(BIN)/vulture
	@echo "$(BIN)/deptry operator"; said=$$(NO_COLOR=1 $(BIN)/deptry operator 2>&1) || { echo "$$said"; exit 1; }
	@echo "$(BIN)/lint-imports"; said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }
	$(PY) -m immutable_operator.api.crd --check
	$(PY) -m immutable_operator.admission.chart --check
	$(PY) -m gitops.generate.argocd --check
	$(PY) -m website.reference --check
	$(PY) -m website.picture --check

# helm is one of the programs of the control plane; it is built by the first demo or test.
.PHONY: chart
chart: CACHE = $${IMMUTABLE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/immutable-operator}
chart:
	@helm=$$(ls -t "$(CACHE)"/bin/helm-*/helm 2> /dev/null | head -1); \
	helm=$${helm:-$$(command -v helm)}; \
	if [ -z "$$helm" ]; then echo "helm lint: skipped, helm is not built yet"; exit 0; fi; \
	for values in $(CHART)/ci/*.yaml; do \
	  echo "helm lint --strict $(CHART) --values $$values"; \
	  "$$helm" lint --strict --quiet $(CHART) --values "$$values" || exit 1; \
	done
	@if [ -x $(PY) ]; then $(CHART_LINT) --if-built; fi

# The image needs docker, podman or buildah, and no .venv. IMAGE_FLAGS are added to the command that
# builds it, such as --build-arg=BASE=<image>@sha256:<digest>.
REGISTRY ?=
IMAGE_TAG ?=
IMAGE_TOOL ?=
IMAGE_FLAGS ?=
IMAGE_HTTP ?=
.PHONY: image
image:
	@$(if $(wildcard $(PY)),$(PY),$(firstword $(PYTHONS))) -m release.image --registry '$(REGISTRY)' \
	  --tag '$(IMAGE_TAG)' --tool '$(IMAGE_TOOL)' --flags='$(IMAGE_FLAGS)' $(if $(IMAGE_HTTP),--plain-http)

# What only releases need is not in .venv. The steps are those of .github/workflows/release.yml; see
# docs/release.md.
RELEASE_PY := .venv-release/bin/python
RELEASE = $(RELEASE_PY) -m release
INTO ?= dist/release
ADDRESS ?=
TAG ?=
PLATFORM ?=
FIRST ?=
SECOND ?=
REFERENCES ?=
KEY ?=
OFFLINE ?=
# The program of the bed: built once, then found.
bed = $$($(RELEASE_PY) tests/controlplane/build.py $(1) | sed -n 's|^$(1): /|/|p')

.PHONY: release
release: venv release-tools
	@$(BIN)/pytest tests/release

# Environments for what only some targets need: requirements-<name>.txt is installed in .venv-<name>.
OWN_VENVS := release-venv mutants-venv
.PHONY: $(OWN_VENVS)
$(OWN_VENVS): %-venv:
	@pins=$$(cksum < requirements-$*.txt | cut -d' ' -f1); \
	[ ! -e ".venv-$*/ready-$$pins" ] || exit 0; \
	for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	echo "== .venv-$* (about 1 minute, once)"; \
	"$${python:-python3}" -m venv --clear .venv-$* && \
	.venv-$*/bin/python -m pip --disable-pip-version-check install --quiet --no-deps \
	  --require-hashes -r requirements-$*.txt && \
	touch ".venv-$*/ready-$$pins"

.PHONY: release-tools
release-tools: release-venv
	@echo "== helm, krew and cosign (built once, about 12 minutes on two cores)"
	@$(RELEASE_PY) tests/controlplane/build.py helm krew \
	  validate-krew-manifest cosign

.PHONY: release-version
release-version: release-venv
	@$(RELEASE) version --tag '$(TAG)'

.PHONY: release-files
release-files: release-venv
	@$(RELEASE) build --into '$(INTO)' --tag '$(TAG)' --address '$(ADDRESS)' --helm "$(call bed,helm)" \
	  $(addprefix --platform=,$(PLATFORM))

.PHONY: release-compare
release-compare: release-venv
	@$(RELEASE) compare '$(FIRST)' '$(SECOND)'

.PHONY: krew-check
krew-check: release-venv
	@"$(call bed,validate-krew-manifest)" -skip-install -manifest '$(INTO)/immutable.yaml'

.PHONY: push-chart
push-chart: release-venv
	@$(RELEASE) push-chart '$(INTO)' --registry '$(REGISTRY)' --helm "$(call bed,helm)" \
	  $(if $(IMAGE_HTTP),--plain-http)

# Without KEY: by the identity of the workflow that runs it.
.PHONY: sign
sign: release-venv
	@$(RELEASE) sign '$(INTO)' $(REFERENCES) --cosign "$(call bed,cosign)" $(if $(KEY),--key '$(KEY)') \
	  $(if $(OFFLINE),--offline)

# The checks that are left out, and why: "What kube-score reports" in the chart's README.
SCORE := --kubernetes-version v1.36 --output-format ci --exit-one-on-warning \
  --ignore-container-cpu-limit --ignore-test container-image-pull-policy \
  --ignore-test pod-networkpolicy --ignore-test deployment-has-host-podantiaffinity
.PHONY: score
score: venv
	@echo "== kube-score, built once (about 2 minutes on two cores)"; \
	built=$$($(PY) -W ignore::RuntimeWarning -m tests.controlplane.build helm kube-score) || { echo "$$built"; exit 1; }; \
	helm=$$(echo "$$built" | sed -n 's|^helm: /|/|p'); \
	score=$$(echo "$$built" | sed -n 's|^kube-score: /|/|p'); \
	for values in $(CHART)/ci/*.yaml; do \
	  echo "kube-score $(CHART) --values $$values"; \
	  made=$$("$$helm" template immutable-operator $(CHART) --namespace immutable-system \
	    --values "$$values") || exit 1; \
	  said=$$(printf '%s\n' "$$made" | "$$score" score $(SCORE) -) || failed=1; \
	  printf '%s\n' "$$said" | grep -v -e '^$$' -e '^\[OK\]' -e '^\[SKIPPED\]'; \
	done; \
	exit $${failed:-0}

# Runtime warnings: the module is imported by its package before it is run.
CHART_LINT = $(PY) -W ignore::RuntimeWarning -m tests.controlplane.chart_lint
.PHONY: chart-lint
chart-lint: venv
	@echo "== ct, kubeconform and helm-docs, built once (about 2 minutes on two cores)"
	@$(CHART_LINT)

.PHONY: chart-docs
chart-docs: venv
	@$(CHART_LINT) --write-docs

# SERVICES, PODS: the size. BESIDE: what else runs on the machine, for the page.
SERVICES ?= 500
PODS ?= 5000
BESIDE ?= nothing
.PHONY: benchmarks
benchmarks: venv
	@$(PY) -m benchmarks.plan --beside '$(BESIDE)'
	@$(PY) -m benchmarks.scale --services $(SERVICES) --pods $(PODS) --beside '$(BESIDE)'
	@$(PY) -m benchmarks.admission --beside '$(BESIDE)'
	@$(PY) -m benchmarks.rollout --beside '$(BESIDE)'
	@$(PY) -m benchmarks.expiry --beside '$(BESIDE)'
	@$(PY) -m benchmarks.report

.PHONY: crds
crds: venv
	@$(PY) -m immutable_operator.api.crd
	@$(PY) -m immutable_operator.admission.chart
	@$(PY) -m gitops.generate.argocd
	@$(PY) -m website.reference
	@$(PY) -m website.picture

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --upgrade --no-header
.PHONY: lock
lock: venv
	@$(PY) -m pip install --quiet --disable-pip-version-check $(UV)
	@$(LOCK) --output-file requirements.txt --extra operator pyproject.toml
	@$(LOCK) --output-file requirements-release.txt --group release
	@$(LOCK) --output-file requirements-dev.txt --extra operator --group dev pyproject.toml
	@$(LOCK) --output-file requirements-mutants.txt --extra operator --group dev --group mutants \
	  --constraint requirements-dev.txt pyproject.toml
	@$(LOCK) --output-file requirements-cli.txt --extra cli --constraint requirements-dev.txt \
	  pyproject.toml

# Created once, and again when the pins change or the tree was moved.
.PHONY: venv
venv:
	@pins=$$($(PINS)); \
	if [ -e ".venv/ready-$$pins" ] && $(PY) -c '' 2> /dev/null; then exit 0; fi; \
	for candidate in $(PYTHONS); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: none of $(PYTHONS) is a Python 3.11 or newer; install one" \
	    "(Debian, Ubuntu: apt install python3 python3-venv) or select one: make PYTHON=<program>" >&2; \
	  exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2> /dev/null; then \
	  echo "error: $$python has no venv module; install it" \
	    "(Debian, Ubuntu: apt install python3-venv)" >&2; \
	  exit 1; \
	fi; \
	count=$$(grep -c '==' requirements-dev.txt); began=$$(date +%s); \
	echo "== .venv with $$("$$python" -V): $$count packages (about 1 minute, once)"; \
	if ! grep -qsF "$$(pwd -P)/.venv/" .venv/bin/pip || ! $(PY) -c '' 2> /dev/null; then \
	  "$$python" -m venv --clear .venv || exit 1; \
	fi; \
	rm -f .venv/ready-*; \
	pip="$(PY) -m pip --disable-pip-version-check install --no-deps --progress-bar off"; \
	{ $$pip --no-compile --require-hashes -r requirements-dev.txt || echo failed; } | { \
	  n=0; while read -r word rest; do case $$word in \
	    Collecting) n=$$((n + 1)); [ $$((n % 10)) -ne 0 ] || echo "   $$n of $$count downloaded" ;; \
	    Installing) echo "   unpacking them" ;; \
	    failed) exit 1 ;; \
	  esac; done; } || { echo "error: the installation failed, see above; check the network and run the" \
	    "command again to continue" >&2; exit 1; }; \
	echo "   compiling them"; $(PY) -m compileall -q -j 0 .venv/lib > /dev/null || true; \
	$$pip --quiet --no-build-isolation -e . || exit 1; \
	touch ".venv/ready-$$pins"; \
	echo "   done in $$(($$(date +%s) - began)) s"
