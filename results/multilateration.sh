#!/usr/bin/env bash
# Rebuild results/multilateration, its tables and its picture on a small machine: hours on
# two cores, 20 GB of disk. Run it again to resume; finished runs are skipped.
#   results/multilateration.sh SPEECH NOISE [RUNS]         # RUNS: runs/multilateration
# The variables DATASETS (datasets), SEEDS (0 1 2), PARTS (ad1 ad2 any ablations; any_medium
# takes two hours a seed besides) and PYTHON (.venv/bin/python) change the defaults.
set -euo pipefail
speech=$(realpath "${1:?name the folder of speech}")
noise=$(realpath "${2:?name the folder of noise}")
[ -z "${3:-}" ] || runs=$(realpath -m "$3")
cd "$(dirname "$0")/.."
runs=${runs:-runs/multilateration}
data=(--config.data.speech="$speech" --config.data.noise="$noise"
  --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}
parts=" ${PARTS:-ad1 ad2 any ablations} "

run() {  # COMMAND EXPERIMENT FLAGS
  local config=experiments/$2.py:${size:-reduced}
  "$python" -m uld_jax.cli "$1" --config="$config" "${data[@]}" "${@:3}"
}

# Train at I = 16, and test the same network at I = 64, its votes on a finer grid.
both_grids() {  # EXPERIMENT FOLDER SEED [FLAGS]
  local coarse=$2/uld_I16_seed$3 fine=$2/uld_I64_seed$3
  run train "$1" --config.seed="$3" --workdir="$coarse" "${@:4}"
  run train "$1" --config.seed="$3" --config.label.resolution=64 \
    --config.model.cells=128 --config.train.epochs=0 --init_from="$coarse" --workdir="$fine"
}

# Train for a shorter time, all alike.
ablate() {  # FOLDER SEED FLAGS
  run train ad1_multilateration --config.seed="$2" --config.train.epochs=5 \
    --workdir="$runs/$1_seed$2" "${@:3}"
}

# Test one network at every resolution, as in Table 2.
test_at_every_I() {  # SCHEME FOLDER SEED RESOLUTIONS
  local resolution
  for resolution in $4; do
    run train ad1_multilateration --config.seed="$3" --config.label.scheme="$1" \
      --config.label.resolution="$resolution" --config.train.epochs=0 \
      --init_from="$runs/$2_seed$3" --workdir="$runs/labels/$1_I${resolution}_seed$3"
  done
}

for seed in ${SEEDS:-0 1 2}; do
  [[ $parts != *" ad1 "* ]] || both_grids ad1_multilateration "$runs/ad1" "$seed"
  # Two talkers start from the network of one.
  [[ $parts != *" ad2 "* ]] || both_grids ad2_multilateration "$runs/ad2" "$seed" \
    --init_from="$runs/ad1/uld_I16_seed$seed" --init_partial
  [[ $parts != *" any "* ]] || both_grids any_session "$runs/any" "$seed"
  [[ $parts != *" any_medium "* ]] ||
    size=medium both_grids any_session "$runs/any_medium" "$seed"
  [[ $parts = *" ablations "* ]] || continue
  for part in nothing rings hyperbolas pair_votes context trust; do
    ablate "ablations/without_$part" "$seed" --config.model.without="$part"
  done
  ablate one_grid/trained "$seed" --config.model.cells=16 \
    --config.train.step_shapes="30x8 20x12 12x16 8x24 5x32"
  run train ad1_multilateration --config.seed="$seed" --config.train.epochs=0 \
    --init_from="$runs/one_grid/trained_seed$seed" \
    --workdir="$runs/ablations/one_grid_seed$seed"
  ablate ablations/no_errors "$seed" --config.data.noisier_copies=0 --config.data.clock_offset=0 \
    --config.data.position_error=0 --config.data.gain_error=0 --config.data.coloring=0 \
    --config.train.epochs=10  # Of half as many examples.
  for scheme in one_hot heat_map refined_grid; do
    ablate "ablations/$scheme" "$seed" --config.label.scheme="$scheme"
    test_at_every_I "$scheme" "ablations/$scheme" "$seed" "2 4 8 16"
  done
  test_at_every_I uld ablations/without_nothing "$seed" "1 2 4 8 16"
done
[[ $parts != *" ad1 "* ]] || run robustness ad1_multilateration --workdir="$runs/ad1"
[[ $parts != *" ad2 "* ]] || run robustness ad2_multilateration --workdir="$runs/ad2"
[[ $parts != *" any "* ]] || run robustness any_session --workdir="$runs/any"
[[ $parts != *" any_medium "* ]] || size=medium run robustness any_session \
  --examples=200 --workdir="$runs/any_medium"
[[ $parts != *" ablations "* ]] || run robustness ad1_multilateration \
  --conditions=clock_offset --examples=100 --workdir="$runs/ablations"

for folder in "$runs"/*/*/; do
  kept=results/multilateration/${folder#"$runs"/}
  mkdir -p "$kept"
  for file in record.json predictions.npz conditions.json condition_errors.npz; do
    [ ! -e "$folder/$file" ] || cp "$folder/$file" "$kept"
  done
done
page=docs/multilateration.md
"$python" -m uld_jax.cli tables results/multilateration/ad1 results/ad1/srp_phat \
  --only=conditions --update=$page --mark=conditions
"$python" -m uld_jax.cli tables results/multilateration/ad2 results/ad2/srp_phat \
  --only=paper --update=$page --mark=two_talkers
"$python" -m uld_jax.cli tables results/multilateration/any results/multilateration/any_medium \
  --only=summary --update=$page --mark=any_session
"$python" -m uld_jax.cli tables results/multilateration/ablations \
  --only=summary --update=$page --mark=ablations
"$python" -m uld_jax.cli tables results/multilateration/ablations \
  --only=conditions --update=$page --mark=ablations_clocks
"$python" docs/multilateration.py "$runs/ad1/uld_I16_seed0" docs/multilateration.png
