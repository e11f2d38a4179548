# `make demo` and `make test` need Python 3.10-3.14, make, cmake and a C++ compiler, and no ROS.
PYTHON ?= python3

# A ROS installation that happens to be sourced must not leak into .venv, which has its own.
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH ROS_DISTRO \
    RMW_IMPLEMENTATION ROS_DOMAIN_ID ROS_LOCALHOST_ONLY ROS_AUTOMATIC_DISCOVERY_RANGE ROS_STATIC_PEERS \
    FASTRTPS_DEFAULT_PROFILES_FILE FASTDDS_DEFAULT_PROFILES_FILE FASTDDS_BUILTIN_TRANSPORTS \
    _ROS_WHEELS_BOOTSTRAP_COMPLETE
export LD_LIBRARY_PATH := $(shell echo "$$LD_LIBRARY_PATH" | tr ':' '\n' | grep -v '/ros/' | paste -sd: -)

.PHONY: help demo test lint docs figures install-demo install-test install-lint install-docs clean

help:
	@echo 'make demo     play the sample recording through the ROS 2 node; report accuracy and latency'
	@echo 'make test     run the tests'
	@echo 'make lint     check style and types'
	@echo 'make docs     build the documentation into site/'
	@echo 'make figures  fill the tables of README and docs from docs/results/*.json'
	@echo 'make clean    remove .venv, site and demo_output'

demo: install-demo
	@.venv/bin/python demo/run.py

test: install-test
	@.venv/bin/python -m pytest

lint: install-lint
	@.venv/bin/ruff check .
	@.venv/bin/pyright

docs: install-docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet

figures: install-demo
	@.venv/bin/python docs/figures.py

install-demo install-test install-lint install-docs: install-%:
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.10 to 3.14 is needed: $(PYTHON) was not found.' >&2; exit 1; }
	@$(PYTHON) demo/install.py $*

clean:
	rm -rf .venv site demo_output
