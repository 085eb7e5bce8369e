#!/usr/bin/env bash
# Rebuild results/ad1, ad1_medium, ad2 and ad1_front_ends on a small machine, with
# their tables and figures: hours on two cores, 16 GB of disk. Run it again to resume;
# finished runs are skipped.
#   results/reduced.sh SPEECH NOISE [RUNS]                 # RUNS: runs/reduced
# The variables DATASETS (datasets) and PYTHON (.venv/bin/python) change the defaults.
set -euo pipefail
speech=$(realpath "${1:?name the folder of speech}")
noise=$(realpath "${2:?name the folder of noise}")
[ -z "${3:-}" ] || runs=$(realpath -m "$3")
cd "$(dirname "$0")/.."
runs=${runs:-runs/reduced}
data=(--config.data.speech="$speech" --config.data.noise="$noise"
  --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}

run() { "$python" -m uld_jax.cli "$1" --config="experiments/$2.py:reduced" "${data[@]}" "${@:3}"; }
# Diverging is a result, too. The folder of the run comes last.
attempt() {
  local folder=${!#}
  run "$@" || grep -rqs '"status": "diverged"' "${folder#--workdir=}"
}

# Table 2; fresh rooms against the stored ones, over as many steps.
attempt sweep ad1 --scheme=uld,one_hot --resolution=4,8 --workdir="$runs/ad1"
for method in srp_phat tdoa_ls; do
  run baseline ad1 --method="$method" --workdir="$runs/ad1/$method"
done
attempt train ad1 --config.data.source=fresh --workdir="$runs/ad1/uld_I4_fresh"
run robustness ad1 --examples=200 --workdir="$runs/ad1"

# Table 3: with and without permutation-invariant training.
attempt train ad2 --workdir="$runs/ad2/uld_I4_seed0"
attempt train ad2 --config.train.permutation_invariant=False --workdir="$runs/ad2/uld_I4_no_pit"
run baseline ad2 --method=srp_phat --workdir="$runs/ad2/srp_phat"
run robustness ad2 --examples=100 --workdir="$runs/ad2"

# Front ends, and both initializations of the layers of the grid, four epochs each.
for front_end in real_imaginary level_compressed cross_spectrum; do
  attempt train ad1 --config.train.epochs=4 --config.model.front_end="$front_end" \
    --workdir="$runs/ad1_front_ends/$front_end"
done
attempt train ad1 --config.train.epochs=4 --config.model.grid_init=independent \
  --workdir="$runs/ad1_front_ends/level_compressed_independent"

# Full width and depth: an hour and a half each.
for resolution in 16 4; do
  "$python" -m uld_jax.cli train --config=experiments/ad1.py:medium "${data[@]}" \
    --config.label.resolution="$resolution" \
    --workdir="$runs/ad1_medium/uld_I${resolution}_seed0"
done

for name in ad1 ad2 ad1_front_ends ad1_medium; do
  for folder in "$runs/$name"/*/; do
    kept=results/$name/$(basename "$folder")
    mkdir -p "$kept"
    cp "$folder/record.json" "$kept"
    for file in predictions.npz conditions.json; do  # Those that diverged have none.
      [ ! -e "$folder/$file" ] || cp "$folder/$file" "$kept"
    done
  done
done
page=docs/scattered_nodes.md
"$python" -m uld_jax.cli tables results/ad1/*_seed0 results/ad1/srp_phat results/ad1/tdoa_ls \
  --only=paper --update=$page --mark=ad1
"$python" -m uld_jax.cli tables results/ad1 --only=training,conditions --update=$page \
  --mark=ad1_training
"$python" -m uld_jax.cli tables results/ad1_medium --only=paper --update=$page \
  --mark=ad1_medium
"$python" -m uld_jax.cli tables results/ad2 --update=$page --mark=ad2
"$python" -m uld_jax.cli tables results/ad1_front_ends --only=training --update=$page \
  --mark=front_ends
for name in ad1 ad2; do "$python" -m uld_jax.cli report "results/$name"; done
