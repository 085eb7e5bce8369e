#!/usr/bin/env bash
# Resume on an accelerator, bit for bit or not, and what the guard of the step costs, in one
# call of a few minutes:
#   OUT=FOLDER benchmarks/trust_gpu.sh
# Kills runs with the flags that make sums deterministic, then without. LIVES=1 is small.
# Works offline with what benchmarks/pack_offline.sh put into .carry, or in a machine's own
# environment if there is no .carry.
# shellcheck source=benchmarks/offline_env.sh
. "$(dirname "$0")/offline_env.sh" trust
mkdir -p "$out"
status=0
lives=${LIVES:-4}
flags="--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0"
XLA_FLAGS="${XLA_FLAGS:-} $flags" python3 benchmarks/kills.py --lives="$lives" |
  tee "$out/kills_deterministic.md" || status=1
# That this one differs is no failure.
python3 benchmarks/kills.py --lives="$lives" | tee "$out/kills.md" || true
if git rev-parse --quiet --verify 864dc7f > /dev/null 2>&1; then
  python3 benchmarks/step_time.py --against=864dc7f | tee "$out/step_time.txt"
fi
exit $status
