.PHONY: help test lint docs ci

help:  ## List these commands
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/: .*## /\t/'

test: ## Run the tests, the slow ones left out
	pytest

lint: ## Check form and types
	ruff check . && ruff format --check . && mypy

docs: ## Build the documentation site in site/
	mkdocs build --strict

ci: ## Run what continuous integration runs
	.ci/run
