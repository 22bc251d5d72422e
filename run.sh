#!/bin/sh
# python with this clone first
PYTHONPATH=/tmp/serve/src:/tmp/serve/tests exec /work/main/.venv/bin/python "$@"
