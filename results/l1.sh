#!/usr/bin/env bash
# Rebuild results/l1_reduced on a small machine, with Table 1 of all labels and methods:
# two hours on two cores, 1 GB of disk. Run it again to resume; finished runs are skipped.
#   results/l1.sh SPEECH [RUNS]                 # RUNS: runs/l1_reduced
# The variables DATASETS (datasets) and PYTHON (.venv/bin/python) change the defaults.
set -euo pipefail
speech=$(realpath "${1:?name the folder of speech}")
[ -z "${2:-}" ] || runs=$(realpath -m "$2")
cd "$(dirname "$0")/.."
runs=${runs:-runs/l1_reduced}
data=(--config.data.speech="$speech" --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}

run() { "$python" -m uld_jax.cli "$1" --config="experiments/$2.py:reduced" "${data[@]}" "${@:3}"; }

run sweep l1 --scheme=one_hot,heat_map,refined_grid,uld,soft --workdir="$runs"
run sweep l1_azimuth --workdir="$runs"
for method in srp_phat tdoa_ls music; do
  run baseline l1 --method="$method" --workdir="$runs/$method"
done
run baseline l1 --method=stage_wise --run="$runs/azimuth_I36_seed0" --workdir="$runs/stage_wise"

for folder in "$runs"/*/; do
  kept=results/l1_reduced/$(basename "$folder")
  mkdir -p "$kept"
  cp "$folder/record.json" "$folder/predictions.npz" "$kept"
done
# The paper's four labels have the figures and the README's table.
four=(results/l1_reduced/{one_hot_I6,heat_map_I6,refined_grid_I6,uld_I5}_seed0)
"$python" -m uld_jax.cli tables "${four[@]}" --only=summary --update=README.md
"$python" -m uld_jax.cli tables results/l1_reduced --update=docs/paper_tables.md \
  --markdown=results/l1_reduced/table1.md
"$python" -m uld_jax.cli report "${four[@]}" --out=results/l1_reduced/report
