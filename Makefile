# Every target calls one script, which says what it does and has all logic.
.DEFAULT_GOAL := help
.PHONY: help env dev dev-host up down logs rebuild token test quick check bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

env: ## make .env, or complete it; "make dev" does this too
	@scripts/env

dev: ## the platform with hot reload, in containers (or here, without Docker)
	@scripts/dev

dev-host: ## the same loop on this machine, with an embedded database
	@scripts/dev-host

up: ## the production shape; AGENTS=1 in .env: workspaces in containers
	@scripts/up

down: ## stop everything; data and caches stay
	@scripts/down

logs: ## follow what runs
	@scripts/logs

rebuild: ## fresh image and clean database, then "make dev"
	@scripts/rebuild

token: ## print the first administrator's token
	@scripts/token

test: ## all tests that this machine can run; ARGS="-only devloop -run TestX" for some
	@scripts/test $(ARGS)

quick: ## the tests of what changed since main, in under a minute
	@scripts/quick $(ARGS)

check: ## format, vet, static analysis, shell and Dockerfile lint
	@scripts/check

bench: ## edit to serving: this loop, the bare build, plain air; ARGS=-h lists flags
	@scripts/bench $(ARGS)
