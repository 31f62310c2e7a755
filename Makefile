# Thin on purpose: tools/bootstrap.py does the work, also on Windows, where there is no make.
PYTHON := $(shell for p in python3 python python3.11 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null && echo "$$p" && break; done)
ifeq ($(PYTHON),)
$(error No Python was found. Install Python 3.11 or newer: docs/install.md says how)
endif

.PHONY: help run test lab notebooks lint bench site soak
help run test lab notebooks lint bench site soak:
	@$(PYTHON) tools/bootstrap.py $@
