#!/usr/bin/env bash
# Rebuild results/localizer, the localizer's tables and the pages of other rooms and of
# sessions on a small machine: three hours on one core. Run it again to resume.
#   results/localizer.sh SPEECH NOISE [RUNS]               # RUNS: runs/localizer
# The variables DATASETS (datasets), VOTES (a trained network of any_session, to compare with
# in other rooms; none) and PYTHON (.venv/bin/python) change the defaults.
set -euo pipefail
root=$(realpath "$(dirname "$0")/..")
# Relative, since pages show the commands that made them.
speech=$(realpath -s --relative-to="$root" "${1:?name the folder of speech}")
noise=$(realpath -s --relative-to="$root" "${2:?name the folder of noise}")
[ -z "${3:-}" ] || runs=$(realpath -m "$3")
cd "$root"
runs=${runs:-runs/localizer}
flags=(--config=experiments/ad1_multilateration.py:reduced
  --config.data.speech="$speech" --config.data.noise="$noise"
  --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}

for method in fused analytic; do
  "$python" -m uld_jax.cli baseline "${flags[@]}" --method=$method --workdir="$runs/ad1/$method"
done
"$python" -m uld_jax.cli robustness "${flags[@]}" --workdir="$runs/ad1" --examples=200
for method in fused analytic; do
  kept=results/localizer/ad1/$method
  mkdir -p $kept
  cp "$runs"/ad1/$method/{record.json,predictions.npz,condition*} $kept
done

ad2=("${flags[@]}")
ad2[0]=--config=experiments/ad2_multilateration.py:reduced
for method in fused srp_phat; do
  "$python" -m uld_jax.cli baseline "${ad2[@]}" --method=$method --workdir="$runs/ad2/$method"
  mkdir -p results/localizer/ad2/$method
  cp "$runs"/ad2/$method/{record.json,predictions.npz} results/localizer/ad2/$method
done

page=docs/localizer.md
"$python" -m uld_jax.cli tables results/localizer/ad1 results/ad1/srp_phat results/ad1/tdoa_ls \
  --only=summary --update=$page --mark=ad1
"$python" -m uld_jax.cli tables results/localizer/ad1 results/ad1/srp_phat \
  --only=conditions --update=$page --mark=conditions
"$python" -m uld_jax.cli tables results/localizer/ad2 --only=summary --update=$page --mark=two

measured=benchmarks/reliability/results
"$python" -m benchmarks.reliability.other_rooms --speech="$speech" --noise="$noise" \
  --cache="$runs/other_rooms" --nodes 30 8 5 --out=$measured/other_rooms.json ${VOTES:-}
"$python" -m benchmarks.reliability.sessions --speech="$speech" \
  --cache="$runs/sessions" --out=$measured/sessions.json
"$python" -m benchmarks.reliability.doctor --speech="$speech" \
  --cache="$runs/sessions" --out=$measured/planted_faults.json
"$python" -m benchmarks.reliability.phones --speech="$speech" \
  --cache="$runs/phones" --out=$measured/phones.json
for name in other_rooms sessions planted_faults phones; do
  "$python" -m benchmarks.report $measured/$name.json > docs/$name.md
done
"$python" docs/localizer.py docs/localizer.png
