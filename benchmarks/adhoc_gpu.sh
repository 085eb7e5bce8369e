#!/usr/bin/env bash
# Tables 2 and 3 at full size on one GPU, cell after cell, in calls of at most MINUTES (9).
# Call it again until it exits with 0; it exits with 75 while there is more to do.
#   OUT=FOLDER benchmarks/adhoc_gpu.sh [flags of uld_jax.main]
# First the speed of rendering, STFT and network, then ULD at I = 16 and 8 and one-hot at
# 16, then the rest of Table 2, then Table 3. Data are compact: prepared here from speech
# and noise, in a minute or two, and rendered on the device batch by batch.
# Records, predictions and tables come back; states (60 to 70 MB each at full size) stay on
# the machine. If it is given back between calls, the unfinished run begins anew.
# Works offline with what benchmarks/pack_offline.sh put into .carry, or in a machine's own
# environment if there is no .carry. Records go to $OUT; runs that are in .carry/runs.tgz
# (an earlier $OUT/runs.tgz) are taken as done. SIZE=:reduced takes the reduced experiment.
# shellcheck source=benchmarks/offline_env.sh
. "$(dirname "$0")/offline_env.sh" adhoc
mkdir -p "$out" "$runs"

status=0
data=(--config.data.source=compact --config.data.speech="${SPEECH:-.carry/speech}"
  --config.data.noise="${NOISE:-.carry/noise}")
if [ ! -e "$runs/training_speed.md" ]; then
  # Its neighbor `report` is not found by itself where PYTHONSAFEPATH is set.
  PYTHONPATH=$PWD/benchmarks:${PYTHONPATH:-} \
    python3 benchmarks/training.py --out="$runs/training_speed.md" ${SIZE:+--small}
fi
cells="1:uld:16 1:uld:8 1:one_hot:16"
for ad in 1 2; do
  for cell in uld:16 uld:8 one_hot:16 one_hot:8 uld:4 one_hot:4 refined_grid:8 \
    refined_grid:16 heat_map:8 refined_grid:4 heat_map:4 uld:2 one_hot:2 refined_grid:2 \
    heat_map:2 uld:1 heat_map:16; do
    cells="$cells $ad:$cell"
  done
done
for cell in ${CELLS:-$cells}; do
  IFS=: read -r ad scheme resolution <<<"$cell"
  workdir=$runs/ad$ad/${scheme}_I${resolution}_seed0
  grep -qs '"status": "\(done\|diverged\)"' "$workdir/record.json" && continue
  minutes=$(minutes_left 25)
  if [ "$(python3 -c "print($minutes < 0.5)")" = True ]; then
    status=75
    break
  fi
  python3 -m uld_jax.main --config="experiments/ad$ad.py${SIZE:-}" "${data[@]}" \
    --config.label.scheme="$scheme" --config.label.resolution="$resolution" \
    --workdir="$workdir" --minutes="$minutes" "$@" || status=$?
  # A run that has diverged is in the table, too.
  [ "$status" != 1 ] || ! grep -qs '"status": "diverged"' "$workdir/record.json" || status=0
  [ "$status" = 0 ] || break
done
tar -C "$runs" --exclude=last --exclude=best --exclude=tensorboard -czf "$out/runs.tgz" .
cp "$runs/training_speed.md" "$out"
for ad in 1 2; do
  [ -d "$runs/ad$ad" ] || continue
  python3 -m uld_jax.tables "$runs/ad$ad" --markdown="$out/table$((ad + 1)).md" || true
done
echo "exit status: $status (75: call again)"
exit "$status"
