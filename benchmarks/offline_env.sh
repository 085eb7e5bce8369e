# Sourced by the scripts for offline machines: installs what benchmarks/pack_offline.sh
# put into .carry, if there is a .carry, and unpacks earlier runs into the folder $1.
if [ -d .carry/wheels ]; then
  # Outside .carry, which is sent anew with each call.
  if [ ! -e .offline/installed ]; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
      --upgrade --target .offline/site .carry/wheels/*.whl
    touch .offline/installed
  fi
  export PYTHONPATH=$PWD/.offline/site PYTHONSAFEPATH=1
  ULD_JAX_COMMIT=$(cat .carry/commit)
  export ULD_JAX_COMMIT
fi
if [ -e .carry/runs.tgz ] && [ ! -d "$1" ]; then
  mkdir -p "$1"
  tar -xzf .carry/runs.tgz -C "$1"
fi
python3 -c 'import jax; print(jax.__version__, jax.devices())'
