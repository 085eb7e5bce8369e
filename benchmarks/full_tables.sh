#!/usr/bin/env bash
# `benchmarks/full_tables.py` on an offline machine with what benchmarks/pack_offline.sh put
# into .carry, or in a machine's own environment if there is no .carry. Call it again until
# it exits with 0; it exits with 75 while there is more to do.
#   OUT=FOLDER [MINUTES=9] [SPEECH=FOLDER NOISE=FOLDER] benchmarks/full_tables.sh [flags]
# Cells that are in .carry/runs.tgz (an earlier $OUT/runs.tgz) are taken as done, and runs
# in .carry/states.tgz gone on with.
# shellcheck source=benchmarks/offline_env.sh
. "$(dirname "$0")/offline_env.sh" tables
export PYTHONPATH=$PWD/benchmarks:${PYTHONPATH:-}  # Neighbors, with PYTHONSAFEPATH.
exec python3 benchmarks/full_tables.py --runs="$runs" --out="$out" \
  --minutes="${MINUTES:-9}" --elapsed="$((SECONDS - started))" \
  --speech="${SPEECH:-.carry/speech}" --noise="${NOISE:-.carry/noise}" \
  --states_from=.carry/states.tgz "$@"
