# `make demo` and `make test` do all of their own set-up. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
NODE := node_modules/.bin/node --disable-warning=ExperimentalWarning

.PHONY: help setup demo test check build pack bench smoke-node e2e clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what demo and test need (packages, Node 26, opa)
	@tools/setup

demo: setup ## an unchanged agent under Sidegate: allowed, denied, on record (ends with `demo: ok`)
	@$(NODE) examples/demo/demo.ts

test: export SIDEGATE_SETUP=test
test: setup build ## every test that this machine can run; lists what it skipped and why
	@$(NODE) tools/test.ts

check: setup ## the quick checks of each commit: types, lint, format, unit tests
	@npm run -s check

build: setup ## one bundle a process, under dist/
	@$(NODE) tools/build.ts

pack: build ## the npm package, with the library's policy prebuilt
	@$(NODE) tools/pack.ts

bench: build ## compare with HAProxy and OPA: make bench PART=http|bulk|policy|footprint
	@npm run -s bench -- $(PART) --json

smoke-node: build ## a patched pod on a real one-node cluster built from Go modules (root)
	@test/e2e/smoke-node.sh

e2e: build ## helm install on a real cluster: its own node (root), kind, or SIDEGATE_E2E_KUBECONFIG=FILE
	@test/e2e/e2e.sh

clean: ## remove what was built here
	rm -rf dist
