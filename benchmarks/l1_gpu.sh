#!/usr/bin/env bash
# Table 1 at full size on one GPU: all four schemes, in calls of at most MINUTES (9).
# Call it again until it exits with 0; it exits with 75 while there is more to do.
#   OUT=FOLDER benchmarks/l1_gpu.sh [flags of uld_jax.sweep]
# Works offline with what benchmarks/pack_offline.sh put into .carry, or in a
# machine's own environment if there is no .carry. Records go to $OUT; runs that are
# in .carry/runs.tgz (an earlier $OUT/runs.tgz) are taken as done.
# shellcheck source=benchmarks/offline_env.sh
. "$(dirname "$0")/offline_env.sh" l1
speech=${SPEECH:-.carry/speech}
status=0
python3 -m uld_jax.sweep --config=experiments/l1.py --config.data.speech="$speech" \
  --workdir="$runs" --minutes="$(minutes_left 20)" "$@" || status=$?
mkdir -p "$out"
tar -C "$runs" --exclude=last --exclude=best --exclude=tensorboard -czf "$out/runs.tgz" .
python3 -m uld_jax.tables "$runs" --markdown="$out/table1.md" || true
echo "exit status of the sweep: $status (75: call again)"
exit "$status"
