#!/usr/bin/env bash
# Table 4 at full size in the simulated twin of its room on one GPU, cell after cell, in
# calls of at most MINUTES (9). Call it again until it exits with 0; it exits with 75 while
# there is more to do.
#   OUT=FOLDER benchmarks/twin_gpu.sh [flags of uld_jax.main]
# Of each cell, ULD and one-hot at I = 16 and 8, a network is pre-trained on Ad-1, tested in
# the twin as it is, and fine-tuned there; then the baselines. Data are compact, prepared
# here in a minute or two, and rendered on the device. Records and tables come back;
# networks stay on the machine: on another one a cell that is not done begins anew.
# Works offline with what benchmarks/pack_offline.sh put into .carry, or in a machine's own
# environment if there is no .carry. Runs that are in .carry/runs.tgz (an earlier
# $OUT/runs.tgz) are taken as done. SIZE=_reduced (or _tiny) takes the smaller experiment.
# shellcheck source=benchmarks/offline_env.sh
. "$(dirname "$0")/offline_env.sh" twin
mkdir -p "$out" "$runs"

status=0
size=${SIZE:-}
speech=${SPEECH:-.carry/speech}
noise=${NOISE:-.carry/noise}
data=(--config.data.source=compact --config.data.speech="$speech"
  --config.data.noise="$noise")

# One run, unless it is done: its folder, its experiment, then the flags of uld_jax.main.
run() {
  local workdir=$runs/$1 minutes
  grep -qs '"status": "\(done\|diverged\)"' "$workdir/record.json" && return 0
  minutes=$(minutes_left 25)
  [ "$(python3 -c "print($minutes < 0.5)")" = False ] || return 75
  python3 -m uld_jax.main --config="$2" "${data[@]}" "${@:3}" "${more[@]}" \
    --workdir="$workdir" --minutes="$minutes"
}

more=("$@")
twin=experiments/ad_r1.py:twin$size
for cell in ${CELLS:-uld:16 one_hot:16 uld:8 one_hot:8}; do
  IFS=: read -r scheme resolution <<<"$cell"
  label=(--config.label.scheme="$scheme" --config.label.resolution="$resolution")
  name=${scheme}_I${resolution}_seed0
  from=(--init_from="$runs/ad1/$name")
  grep -qs '"status": "done"' "$runs/twin_r1/tuned/$name/record.json" && continue
  [ -d "$runs/ad1/$name/best" ] || rm -rf "$runs/ad1/$name"  # Only its record came.
  run "ad1/$name" "experiments/ad1.py${size/_/:}" "${label[@]}" &&
    run "twin_r1/as_it_is/$name" "$twin" "${label[@]}" "${from[@]}" \
      --config.train.epochs=0 &&
    run "twin_r1/tuned/$name" "$twin" "${label[@]}" "${from[@]}" ||
    status=$?
  [ "$status" = 0 ] || break
done
if [ "$status" = 0 ]; then
  for method in srp_phat tdoa_ls; do
    python3 -m uld_jax.baseline --config="$twin" "${data[@]}" --method="$method" \
      --workdir="$runs/twin_r1/$method"
  done
fi
tar -C "$runs" --exclude=last --exclude=best --exclude=tensorboard -czf "$out/runs.tgz" .
[ ! -d "$runs/twin_r1" ] ||
  python3 -m uld_jax.tables "$runs/twin_r1" --markdown="$out/table4.md" || true
echo "exit status: $status (75: call again)"
exit "$status"
