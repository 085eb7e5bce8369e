"""Find where talkers are in a room from many scattered microphones, in JAX.

The contents, by what one wants to do:

- Encode and decode positions, angles and directions, in NumPy, JAX or PyTorch:
  `encode_uld`, `decode_wad`, the baselines' codes, other decoders, `encode_circular`,
  `encode_spherical`. Of a network: `Label`.
- Train with them: `cross_entropy`, `entropy`, `permutation_invariant`.
- Score positions: `mae`, `accuracy`, `error_statistics`, `quantization_error`, ...; what a
  right label loses: `box_quantization_error`, and those on the circle and the sphere.
- Transform signals: `stft`. Render rooms: `render`, `Rooms`,
  `RenderSettings`, `Furniture`.
- Localize a talker, with how sure that is: `localize`. Find how late each node's clock is:
  `calibrate_clocks`; and both, throughout a long recording: `localize_session`. While
  signals arrive: `Stream`. Other methods: `srp_phat`, `tdoa`. With a network of one's own:
  `load_network`.
- Choose places for nodes, and know how sure answers will be: `place_nodes`, `expected_radii`,
  `expected_calibration`.
- Run experiments: `load_config`, `train_and_evaluate`, `read_records`.

`__init__.pyi` lists all of it and where it is defined. Sub-packages hold the rest.
Everything is loaded when it is first used, so that importing costs nothing.
"""

__version__ = "0.1.0"

try:
    import lazy_loader
except ImportError:  # Installed with --no-deps: `uld_jax.labels` needs NumPy alone.

    def __getattr__(name: str) -> object:
        if name == "labels":
            import importlib

            return importlib.import_module("uld_jax.labels")
        raise AttributeError(
            f"uld_jax.{name} needs what was not installed: pip install uld-jax "
            "(uld_jax.labels needs NumPy alone)"
        )
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
