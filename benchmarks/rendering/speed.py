"""Measure how fast rooms are rendered: against pyroomacoustics, and by settings.

    python -m benchmarks.rendering.speed
    python -m benchmarks.rendering.speed --device

Everything is measured in one run, so that ratios hold although machines are noisy. The
first form compares on one thread of the CPU; `--device` measures the throughput of the
default accelerator instead. `--small` is a quick version of either.
"""

import argparse
import dataclasses
import functools
import os
import statistics
import sys
import time

from benchmarks import report

_THREADS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    report.add_flag(parser)
    parser.add_argument(
        "--device", action="store_true", help="throughput of an accelerator"
    )
    parser.add_argument("--small", action="store_true", help="a quick version")
    parser.add_argument("--rooms", type=int, help="rooms to compare on")
    parser.add_argument(
        "--compare", action="store_true", help="only against pyroomacoustics"
    )
    options = parser.parse_args()
    if not options.device:
        os.environ["XLA_FLAGS"] = _THREADS
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["PRA_NUM_THREADS"] = "1"
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    tables = (_device if options.device else _cpu)(options)
    report.write("rendering.speed", tables, options.out)


# --- One thread of a CPU ------------------------------------------------------


def _cpu(options) -> list:
    compared = _against_pyroomacoustics(options)
    return compared if options.compare else [*compared, *_costs(options)]


def _draw(count: int, num_nodes: int = 30, num_sources: int = 1, seed: int = 0):
    """Draw rooms of Ad-1 with stratified T60, and white dry signals."""
    import jax
    import numpy as np

    from uld_jax.simulation import rooms as rooms_lib
    from uld_jax.simulation import scenes as scenes_lib

    rng = np.random.default_rng(seed)
    drawn = [
        scenes_lib.draw_adhoc(rng, num_sources, (10.0, 20.0), num_nodes=num_nodes)
        for _ in range(count)
    ]
    rooms = rooms_lib.Rooms.of(drawn)
    low, high = scenes_lib.ADHOC_T60
    strata = (np.arange(count) + rng.uniform(size=count)) / count
    rooms = rooms._replace(t60=low + (high - low) * strata)
    length = rooms_lib.RenderSettings().num_dry
    dry = rng.normal(size=(count, num_sources, length)).astype(np.float32)
    noise = rng.normal(size=(count, length)).astype(np.float32)
    return rooms, dry, noise, jax.random.split(jax.random.key(seed), count)


def _one(rooms, dry, noise, keys, number):
    import jax

    row = slice(number, number + 1)
    return jax.tree.map(lambda array: array[row], (rooms, dry, noise, keys))


def _seconds(function, repeats: int = 1) -> float:
    """Measure the shortest processor time of a function, in seconds."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return min(times)


def _against_pyroomacoustics(options) -> list:
    """Time the same rooms in pyroomacoustics and with both of our late fields."""
    import numpy as np
    import scipy.signal

    from uld_jax.simulation import image_source
    from uld_jax.simulation import rendering as rendering_lib
    from uld_jax.simulation import rooms as rooms_lib
    from uld_jax.simulation import scenes as scenes_lib
    from uld_jax_data.simulated import pyroomacoustics_engine

    count = options.rooms or (3 if options.small else 24)
    rooms, dry, noise, keys = _draw(count)
    if options.small:
        rooms = rooms._replace(t60=0.2 + 0.3 * (rooms.t60 - 0.2))
    with_responses = rooms_lib.RenderSettings(
        late="full", responses=True, highpass=0.0, response_length=30_000
    )
    kinds = {
        "responses": with_responses,
        "full": rooms_lib.RenderSettings(late="full"),
        "thinned": rooms_lib.RenderSettings(),
    }

    def ours(kind, number):
        room, speech, _, key = _one(rooms, dry, noise, keys, number)
        rendered = rendering_lib.render(room, speech, key, kinds[kind])
        rendered.signals.block_until_ready()
        return rendered

    for kind in kinds:
        ours(kind, 0)  # Compile.
    rows = []
    for number in range(count):
        scene = scenes_lib.Scene(
            rooms.size[number],
            rooms.node_positions[number],
            rooms.source_positions[number],
            float(rooms.t60[number]),
        )
        started = time.process_time()
        (response, *_) = pyroomacoustics_engine.responses(scene)
        build = time.process_time() - started
        started = time.process_time()
        scipy.signal.fftconvolve(dry[number], response, axes=-1)
        convolve = time.process_time() - started
        taken = {
            kind: _seconds(functools.partial(ours, kind, number)) for kind in kinds
        }
        actual = np.asarray(ours("responses", number).responses[0, 0])
        expected = np.zeros_like(actual)
        length = min(actual.shape[1], response.shape[1])
        expected[:, :length] = response[:, :length]
        order = int(rooms_lib.compute_walls(rooms, kinds["full"]).order[number])
        rows.append(
            {
                "t60": float(rooms.t60[number]),
                "images": image_source.num_images(order),
                "pyroomacoustics": build,
                "convolution": convolve,
                **taken,
                "error": float(
                    10
                    * np.log10(((actual - expected) ** 2).sum() / (expected**2).sum())
                ),
            }
        )
        print(f"room {number + 1} of {count}: {rows[-1]}", file=sys.stderr)
    quarters = np.array_split(np.arange(count), min(4, count))
    parts = [[rows[i] for i in quarter] for quarter in quarters]
    parts.append(rows)

    def mean(part, key):
        return statistics.mean(row[key] for row in part)

    table = [
        {
            "T60 s": f"{part[0]['t60']:.2f} - {part[-1]['t60']:.2f}",
            "images": f"{mean(part, 'images'):,.0f}",
            "pyroomacoustics responses s": mean(part, "pyroomacoustics"),
            "full responses s": mean(part, "responses"),
            "ratio": mean(part, "pyroomacoustics") / mean(part, "responses"),
            "error dB (worst)": max(row["error"] for row in part),
            "pyroomacoustics to signals s": mean(part, "pyroomacoustics")
            + mean(part, "convolution"),
            "full to signals s": mean(part, "full"),
            "thinned to signals s": mean(part, "thinned"),
            "full ratio": (mean(part, "pyroomacoustics") + mean(part, "convolution"))
            / mean(part, "full"),
            "thinned ratio": (mean(part, "pyroomacoustics") + mean(part, "convolution"))
            / mean(part, "thinned"),
        }
        for part in parts
    ]
    note = (
        f"{count} rooms of Ad-1, 30 nodes, 1 source, one thread, processor time; the last "
        "row is all rooms. Both sides use the same images, but ours leave out what "
        "arrives after 1.9 s (responses) or 1.5 s (signals). Ratios are of sums."
    )
    return [("Against pyroomacoustics.", note, table)]


def _costs(options) -> list:
    """Time rendering by nodes, sources, noise and T60."""
    from uld_jax.simulation import rendering as rendering_lib
    from uld_jax.simulation import rooms as rooms_lib

    count = 2 if options.small else 6

    def time_of(settings, noisy=False, t60=None, **drawn):
        rooms, dry, noise, keys = _draw(count, **drawn)
        if t60:
            rooms = rooms._replace(t60=rooms.t60 * 0 + t60)

        def run():
            rendering_lib.render(
                rooms, dry, keys, settings, noise if noisy else None
            ).signals.block_until_ready()

        run()
        memory = _memory(rooms, dry, keys, settings, noise if noisy else None)
        return 1e3 * _seconds(run, 2) / count, memory / 1e6

    thinned = rooms_lib.RenderSettings()
    full = rooms_lib.RenderSettings(late="full")
    exact = dataclasses.replace
    cases = {
        "thinned": (thinned, {}),
        "thinned, int32": (exact(thinned, deterministic=True), {}),
        "thinned, 8 nodes": (thinned, {"num_nodes": 8}),
        "thinned, 60 nodes": (thinned, {"num_nodes": 60}),
        "thinned, 2 sources": (thinned, {"num_sources": 2}),
        "thinned, 3 sources": (thinned, {"num_sources": 3}),
        "thinned, 8,192 late images": (exact(thinned, num_late=8192), {}),
        "thinned, 32,768 late images": (exact(thinned, num_late=32_768), {}),
        "thinned and noise from a point": (thinned, {"noisy": True}),
        "thinned and diffuse noise": (exact(thinned, noise="diffuse"), {"noisy": True}),
        "thinned and independent noise": (
            exact(thinned, noise="independent"),
            {"noisy": True},
        ),
        "thinned, T60 0.2 s": (thinned, {"t60": 0.2}),
        "thinned, T60 1.2 s": (thinned, {"t60": 1.2}),
        "full, T60 0.2 s": (full, {"t60": 0.2}),
        "full, T60 0.5 s": (full, {"t60": 0.5}),
    }
    if not options.small:
        cases |= {
            "full, T60 0.9 s": (full, {"t60": 0.9}),
            "full, T60 1.2 s": (full, {"t60": 1.2}),
            "full, int32, T60 0.5 s": (exact(full, deterministic=True), {"t60": 0.5}),
            "full, 8 nodes, T60 0.5 s": (full, {"t60": 0.5, "num_nodes": 8}),
            "full, 2 sources, T60 0.5 s": (full, {"t60": 0.5, "num_sources": 2}),
        }
    rows, base = [], None
    for name, (settings, changes) in cases.items():
        milliseconds, memory = time_of(settings, **changes)
        base = base or milliseconds
        rows.append(
            {
                "what": name,
                "ms an utterance": milliseconds,
                "to the first": milliseconds / base,
                "memory MB": memory,
            }
        )
        print(rows[-1], file=sys.stderr)
    note = (
        f"{count} rooms, 30 nodes and 1 source unless noted, 2 s, one thread. Memory is "
        "that of the compiled program with its arguments and results."
    )
    return [("Cost by settings.", note, rows)]


# --- An accelerator -----------------------------------------------------------


def _device(options) -> list:
    limits, bandwidth = _limits(options)
    return [limits, _throughput(options, bandwidth)]


def _wall(function, repeats: int) -> float:
    """Measure the mean time of a function after its first call, in seconds."""
    function().block_until_ready()
    started = time.monotonic()
    for _ in range(repeats):
        last = function()
    last.block_until_ready()
    return (time.monotonic() - started) / repeats


def _limits(options) -> tuple:
    """Measure the limits of the renderer; return a table and bytes per second."""
    import jax
    import jax.numpy as jnp

    from uld_jax.simulation import nonuniform_fft

    size = 1 << (24 if options.small else 30)
    block = jnp.ones(size // 4, jnp.float32)
    copy = jax.jit(lambda array: array + 1)
    bandwidth = 2 * size / _wall(lambda: copy(block), 5)
    rows = [{"what": "memory bandwidth", "measured": f"{bandwidth / 1e9:,.0f} GB/s"}]
    responses, pulses = (4, 10_000) if options.small else (960, 8192)
    num_fft = 57_600
    delays = jax.random.uniform(jax.random.key(0), (responses, pulses)) * 50_000
    gains = jnp.ones_like(delays)
    for deterministic in (False, True):
        deposit = jax.jit(
            lambda delays, gains, d=deterministic: nonuniform_fft.deposit(
                nonuniform_fft.empty((responses,), num_fft, deterministic=d),
                delays,
                gains,
            )
        )
        rate = responses * pulses / _wall(lambda f=deposit: f(delays, gains), 5)
        rows.append(
            {
                "what": f"pulses deposited, {'int32' if deterministic else 'float32'}",
                "measured": f"{rate / 1e9:.3g} G/s, {4 * rate / 1e9:.3g} G additions/s",
            }
        )
    grid = jnp.ones((responses, 2 * num_fft))
    transform = jax.jit(jnp.fft.rfft)
    rate = responses / _wall(lambda: transform(grid), 5)
    rows.append(
        {"what": f"real FFTs of {2 * num_fft:,} points", "measured": f"{rate:,.0f} /s"}
    )
    return ("Limits of the device.", "", rows), bandwidth


def _throughput(options, bandwidth: float) -> tuple:
    """Measure utterances per second by batch, late field and accumulator."""
    import jax

    from uld_jax.simulation import rooms as rooms_lib

    batches = (2, 4) if options.small else (8, 16, 32, 64, 128)
    fields = {
        "thinned": ({}, False),
        "thinned and noise from a point": ({}, True),
        "full": ({"late": "full"}, False),
    }
    if options.small:
        fields.pop("full")
    rows = []
    for field, (changes, noisy) in fields.items():
        for deterministic in (False, True):
            for batch in batches:
                if changes and (deterministic or batch not in (8, 32)):
                    continue
                settings = rooms_lib.RenderSettings(
                    deterministic=deterministic, **changes
                )
                rooms, dry, noise, keys = _draw(batch)
                if changes and batch == 8:
                    rooms = rooms._replace(t60=rooms.t60 * 0 + 0.5)
                on_device = jax.device_put((dry, noise))

                if not noisy:
                    on_device = (on_device[0], None)
                run = functools.partial(_signals, rooms, keys, settings, *on_device)
                seconds = _wall(run, 2 if changes else 10)
                fields_of_sound = 2 if noisy else 1
                moved = batch * fields_of_sound * _bytes_moved(settings)
                rows.append(
                    {
                        "field": field
                        + (", T60 0.5 s" if changes and batch == 8 else ""),
                        "sums": "int32" if deterministic else "float32",
                        "batch": batch,
                        "utterances/s": batch / seconds,
                        "18,000 in s": 18_000 * seconds / batch,
                        "share of bandwidth %": (
                            100 * moved / seconds / bandwidth if not changes else "-"
                        ),
                        "memory GB": 1e-9
                        * _memory(rooms, on_device[0], keys, settings, on_device[1]),
                    }
                )
                print(rows[-1], file=sys.stderr)
    note = (
        "Utterances of 2 s with 30 nodes and 1 source, dry signals on the device, "
        "geometry from the host. Share of bandwidth counts the bytes that must move: the "
        "grid written and read by the transform, its result written and read, the "
        "spectra multiplied and transformed back, and 100 bytes per pulse."
    )
    return ("Throughput.", note, rows)


def _memory(rooms, dry, keys, settings, noise) -> int:
    """Add up the memory of the compiled program, in bytes."""
    from uld_jax.simulation import rendering as rendering_lib

    arguments, sizes = rendering_lib._arguments(rooms, dry, keys, settings, noise)
    compiled = rendering_lib._render.lower(
        *arguments, settings=settings, sizes=sizes
    ).compile()
    sizes = compiled.memory_analysis()
    return (
        sizes.argument_size_in_bytes
        + sizes.output_size_in_bytes
        + sizes.temp_size_in_bytes
    )


def _signals(rooms, keys, settings, dry, noise):
    from uld_jax.simulation import rendering as rendering_lib

    return rendering_lib.render(rooms, dry, keys, settings, noise).signals


def _bytes_moved(settings, num_nodes: int = 30) -> float:
    """Count the fewest bytes that a thinned field must move."""
    from uld_jax.simulation import rooms

    grid = 2 * settings.num_fft * 4
    spectrum = (settings.num_fft // 2 + 1) * 8
    pulses = 100 * (settings.num_late + rooms.NUM_EXACT)
    return num_nodes * (4 * grid + 4 * spectrum + settings.num_fft * 8 + pulses)


if __name__ == "__main__":
    main()
