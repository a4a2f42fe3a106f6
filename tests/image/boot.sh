#!/bin/sh
# Stands in for Beam's boot program, which only Beam's image has: serves workers as it does.
[ "$1" = "--worker_pool" ] || { echo "this stand-in only knows --worker_pool" >&2; exit 64; }
exec python -m apache_beam.runners.worker.worker_pool_main --service_port=50000
