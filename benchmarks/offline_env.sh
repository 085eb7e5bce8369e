# Sourced by the scripts for offline machines, with the name of their runs: goes to the
# project's folder, sets $out and $runs, installs what benchmarks/pack_offline.sh put
# into .carry, if there is a .carry, and unpacks earlier runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS
seconds=$(python3 -c "print(int(60 * ${MINUTES:-9}))")
out=${OUT:?name a folder for the records}
runs=runs/${NAME:-$1}

# Minutes of the call that are left, so many seconds for the end set aside.
minutes_left() {
  python3 -c "print(max(0, $seconds - $SECONDS + $started - $1) / 60)"
}

if [ -d .carry/wheels ]; then
  # Outside .carry, which is sent anew with each call.
  if ! cmp -s .carry/commit .offline/installed; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
      --upgrade --target .offline/site .carry/wheels/*.whl
    cp .carry/commit .offline/installed
  fi
  export PYTHONPATH=$PWD/.offline/site PYTHONSAFEPATH=1
  ULD_JAX_COMMIT=$(cat .carry/commit)
  export ULD_JAX_COMMIT
fi
if [ -e .carry/runs.tgz ] && [ ! -d "$runs" ]; then
  mkdir -p "$runs"
  tar -xzf .carry/runs.tgz -C "$runs"
fi
python3 -c 'import jax; print(jax.__version__, jax.devices())'
