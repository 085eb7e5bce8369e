#!/usr/bin/env bash
# Rebuild results/twin_r1 and results/twin_r2 on a small machine: networks pre-trained on
# the reduced Ad-1 are tested in the simulated twin of the Libri-adhoc40 room as they are,
# fine-tuned there, and trained there from scratch. About three hours on two cores, 20 GB
# of disk. Run it again to resume; finished runs are skipped.
#   results/twins.sh SPEECH NOISE [RUNS]                   # RUNS: runs/twins
# The variables DATASETS (datasets) and PYTHON (.venv/bin/python) change the defaults.
set -euo pipefail
speech=$(realpath "${1:?name the folder of speech}")
noise=$(realpath "${2:?name the folder of noise}")
[ -z "${3:-}" ] || runs=$(realpath -m "$3")
cd "$(dirname "$0")/.."
runs=${runs:-runs/twins}
data=(--config.data.speech="$speech" --config.data.noise="$noise"
  --config.data.dir="${DATASETS:-datasets}")
python=${PYTHON:-.venv/bin/python}

# Arguments: command, experiment file with its size, flags.
run() { "$python" -m uld_jax.cli "$1" --config="experiments/$2" "${data[@]}" "${@:3}"; }
labels=(--scheme=uld,one_hot --resolution=4)
from=(--init_from="$runs/ad1")

run sweep ad1.py:reduced "${labels[@]}" --workdir="$runs/ad1"

# Table 4, one source: as it is, fine-tuned, from scratch; trained at other positions.
twin=$runs/twin_r1
run sweep ad_r1.py:twin_reduced "${labels[@]}" "${from[@]}" --config.train.epochs=0 \
  --workdir="$twin/as_it_is"
run sweep ad_r1.py:twin_reduced "${labels[@]}" "${from[@]}" --workdir="$twin/tuned"
run sweep ad_r1.py:twin_reduced "${labels[@]}" --workdir="$twin/scratch"
run sweep ad_r1.py:twin_anywhere_reduced "${labels[@]}" "${from[@]}" \
  --workdir="$twin/tuned_anywhere"
run sweep ad_r1.py:twin_dev_reduced --scheme=uld --resolution=4 "${from[@]}" \
  --workdir="$twin/tuned_dev"
for method in srp_phat tdoa_ls; do
  run baseline ad_r1.py:twin_reduced --method="$method" --workdir="$twin/$method"
done

# Two sources, initialized with the matching layers of the network for one.
run sweep ad_r2.py:twin_reduced --scheme=uld --resolution=4 "${from[@]}" --init_partial \
  --workdir="$runs/twin_r2/tuned"
run baseline ad_r2.py:twin_reduced --method=srp_phat --workdir="$runs/twin_r2/srp_phat"

for name in twin_r1 twin_r2; do
  find "$runs/$name" -name record.json | while read -r record; do
    folder=$(dirname "$record")
    kept=results/$name/$(realpath --relative-to="$runs/$name" "$folder")
    mkdir -p "$kept"
    cp "$record" "$folder/predictions.npz" "$kept"
  done
  "$python" -m uld_jax.cli tables "results/$name" --update=docs/real_rooms.md --mark="$name"
  "$python" -m uld_jax.cli report "results/$name"
done
