#!/usr/bin/env bash
# Rebuild results/multilateration, its table and its picture on a small machine: hours on
# two cores, 5 GB of disk. Run it again to resume; finished runs are skipped.
#   results/multilateration.sh SPEECH NOISE [RUNS]         # RUNS: runs/multilateration
# The variables DATASETS (datasets), SEEDS (0 1 2) and PYTHON (.venv/bin/python) change the
# defaults.
set -euo pipefail
speech=$(realpath "${1:?name the folder of speech}")
noise=$(realpath "${2:?name the folder of noise}")
[ -z "${3:-}" ] || runs=$(realpath -m "$3")
cd "$(dirname "$0")/.."
runs=${runs:-runs/multilateration}
data=(--config.data.speech="$speech" --config.data.noise="$noise"
  --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}

run() { "$python" -m uld_jax.cli "$1" --config="experiments/$2.py:reduced" "${data[@]}" "${@:3}"; }

# Trained at I = 16, and tested at I = 64, where no network is trained with 30 nodes.
for seed in ${SEEDS:-0 1 2}; do
  folder=$runs/ad1/uld_I16_seed$seed
  run train ad1_multilateration --config.seed="$seed" --workdir="$folder"
  run train ad1_multilateration --config.seed="$seed" --config.label.resolution=64 \
    --config.train.epochs=0 --init_from="$folder" --workdir="$runs/ad1/uld_I64_seed$seed"
done
run robustness ad1_multilateration --workdir="$runs/ad1"

for folder in "$runs"/ad1/*/; do
  kept=results/multilateration/ad1/$(basename "$folder")
  mkdir -p "$kept"
  for file in record.json predictions.npz conditions.json; do
    [ ! -e "$folder/$file" ] || cp "$folder/$file" "$kept"
  done
done
"$python" -m uld_jax.cli tables results/multilateration results/ad1/srp_phat \
  --only=paper,conditions --update=docs/multilateration.md --mark=conditions
"$python" docs/multilateration.py "$runs/ad1/uld_I16_seed0" docs/multilateration.png
