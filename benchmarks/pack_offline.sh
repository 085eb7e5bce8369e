#!/usr/bin/env bash
# Collect what `benchmarks/full_tables.sh` and its like need on an offline machine with
# Python 3.12 and jax 0.11.2 into .carry: wheels, this project's own among them, and recoded
# speech and noise. Usage, with the project's .venv made:
#   benchmarks/pack_offline.sh [SPEECH [WHEEL_TOOL [NOISE]]]
set -euo pipefail
cd "$(dirname "$0")/.."
speech=${1:-../shared/audio/speech}
wheel_tool=${2:-../shared/tools/offline_wheels.sh}
noise=${3:-../shared/audio/noise}
limit_mib=63

rm -rf .carry
mkdir -p .carry/wheels
bash "$wheel_tool" .carry/wheels
rm -f .carry/wheels/pyroomacoustics-*
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
  --dest .carry/wheels jaxtyping safetensors wadler-lindig
.venv/bin/python -m pip wheel --quiet --no-deps --no-build-isolation \
  --wheel-dir .carry/wheels .
rm -rf build
.venv/bin/python benchmarks/recode_audio.py "$speech" .carry/speech
.venv/bin/python benchmarks/recode_audio.py "$noise" .carry/noise
git rev-parse HEAD > .carry/commit
size=$(du -sm .carry | cut -f1)
echo "$size MiB in .carry"
[ "$size" -le "$limit_mib" ] || { echo "more than $limit_mib MiB" >&2; exit 1; }
