import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from uld_jax.acoustics import constants, correlations, envelopes
from uld_jax.labels import schemes
from uld_jax.networks import build, evidence, multilateration, objective

LABEL = schemes.Label("uld", 8)
ROOM = np.array([6.0, 4.0, 3.0], np.float32)
M = 5
RNG = np.random.default_rng(0)


def make(num_sources=1, label=LABEL, **more):
    settings = {"name": "multilateration", "dtype": "float32"}
    settings |= multilateration.SPEC.settings | {"width": 8, "cells": 8} | more
    return build.for_label(settings, label, M, num_sources, seed=0)


def scene(num_nodes=M, num_samples=4000, heights=(0.9, 0.9)):
    """Draw a batch of one scene: a talker's noise, delayed and damped, at the nodes."""
    nodes = RNG.uniform(size=(num_nodes, 3)) * ROOM
    nodes[:, 2] = RNG.uniform(*heights, size=num_nodes)
    source = np.append(RNG.uniform(0.5, 3.5, size=2), 0.95)
    distances = np.linalg.norm(nodes - source, axis=1)
    dry = np.fft.rfft(RNG.normal(size=num_samples))
    turns = np.fft.rfftfreq(num_samples, 1 / 16_000) / constants.SPEED_OF_SOUND
    rays = dry * np.exp(-2j * np.pi * turns * distances[:, None]) / distances[:, None]
    audio = np.fft.irfft(rays, num_samples)
    return {
        "audio": (audio + 0.01 * RNG.normal(size=audio.shape))[None].astype("f4"),
        "node_positions": nodes[None].astype("f4"),
        "source_positions": source[None, None].astype("f4"),
        "room_size": ROOM[None],
    }


_collect = jax.jit(evidence.collect)
_to_bytes = jax.jit(envelopes._to_bytes)


def collect(batch):
    return _collect(jax.tree.map(jnp.asarray, batch))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _call(graph, state, label, known):
    return nnx.merge(graph, state)(label, known)


def call(model, label, batch):
    return _call(*nnx.split(model), label, collect(batch))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _log_posteriors(graph, state, resolution, known):
    return nnx.merge(graph, state).log_posteriors(known, resolution)


def log_posteriors(model, known, resolution=8):
    """Compute log posteriors as one program: operation by operation takes longer."""
    return _log_posteriors(*nnx.split(model), resolution, known)


def loss_of(model, batch):
    """Return the mean loss as a function of the parameters, and the parameters."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    known = collect(batch)
    truth = jax.tree.map(jnp.asarray, batch)

    def loss(params):
        logits = nnx.merge(graph, params, rest)(LABEL, known)
        return objective.losses(LABEL, logits, truth)[0].mean()

    return loss, params


def posterior(model, batch, resolution=8):
    logs = log_posteriors(model, collect(batch), resolution)
    return np.asarray(jax.nn.log_softmax(logs.reshape(*logs.shape[:2], -1))).reshape(
        logs.shape
    )


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def batch():
    return scene()


def test_the_order_of_nodes_does_not_matter(model, batch):
    order = RNG.permutation(M)
    shuffled = batch | {
        key: batch[key][:, order] for key in ("audio", "node_positions")
    }
    np.testing.assert_allclose(
        posterior(model, shuffled), posterior(model, batch), atol=0.02
    )


@pytest.mark.parametrize("turn", ["quarter", "mirror"])
def test_the_answer_turns_and_mirrors_with_the_room(model, batch, turn):
    nodes, room = batch["node_positions"], batch["room_size"]
    before = posterior(model, batch)[0, 0]
    if turn == "quarter":  # (x, y) to (y, Lx - x).
        x, y, z = np.moveaxis(nodes, -1, 0)
        nodes = np.stack([y, room[0, 0] - x, z], axis=-1)
        room = room[:, [1, 0, 2]]
        expected = before.T[::-1]
    else:
        nodes = nodes * [-1, 1, 1] + room * [1, 0, 0]
        expected = before[:, ::-1]
    turned = batch | {"node_positions": nodes.astype("f4"), "room_size": room}
    np.testing.assert_allclose(posterior(model, turned)[0, 0], expected, atol=2e-3)


@pytest.mark.parametrize("why", ["masked", "silent"])
def test_a_masked_or_silent_node_equals_an_absent_one(model, batch, why):
    fewer = batch | {key: batch[key][:, :4] for key in ("audio", "node_positions")}
    audio = batch["audio"].copy()
    if why == "masked":
        audio[:, 4] = np.nan
        mask = np.array([[True] * 4 + [False]])
        more = batch | {"audio": audio, "node_mask": mask}
    else:
        audio[:, 4] = 0
        more = batch | {"audio": audio}
    np.testing.assert_allclose(
        posterior(model, more), posterior(model, fewer), atol=2e-3
    )


def test_a_late_clock_is_a_shift_of_its_envelopes(model, batch):
    delays = np.array([[0, 96, -48, 4, 0]], np.float32)
    audio = np.stack(
        [np.roll(x, int(d)) for x, d in zip(batch["audio"][0], delays[0], strict=True)]
    )
    late = posterior(model, batch | {"audio": audio[None]})
    shifted = posterior(model, batch | {evidence.CLOCK_OFFSETS: delays})
    as_it_is = posterior(model, batch)
    assert np.abs(late - shifted).max() < 0.25 * np.abs(late - as_it_is).max()


def test_very_late_clocks_hide_peaks_in_kept_evidence_as_in_signals(model, batch):
    """Later than the lags that envelopes have: only background is left."""
    delays = jnp.zeros((1, M)).at[0, 2].set(1500.0)
    known = collect(batch)
    shared, _ = model._share(known._replace(clock_offsets=delays))
    found = multilateration._peaks(known._replace(clock_offsets=delays))
    audio = np.stack(
        [np.roll(x, int(d)) for x, d in zip(batch["audio"][0], delays[0], strict=True)]
    )
    late = collect(batch | {"audio": audio[None]})
    expected = envelopes.to_log(late.envelopes)[0].max(axis=-1)
    one, other = correlations.node_pairs(M)
    hidden = (one == 2) | (other == 2)
    peaks = multilateration._peaks(known)
    assert (found[0, hidden] < peaks[0, hidden] - 0.5).all()
    np.testing.assert_array_equal(found[0, ~hidden], peaks[0, ~hidden])
    assert np.abs(found - expected)[0, hidden].mean() < 0.6
    assert np.isfinite(np.asarray(shared.pairs)).all()


def test_a_gain_moves_the_levels_of_kept_evidence_as_of_signals(model, batch):
    gains = np.array([[6.0, 0, -3, 0, 1]], np.float32)
    louder = batch | {"audio": batch["audio"] * 10 ** (gains[..., None] / 20)}
    kept = batch | {evidence.GAINS: np.repeat(gains[..., None], 24, axis=-1)}
    np.testing.assert_allclose(
        posterior(model, louder), posterior(model, kept), atol=0.02
    )


def exact(batch):
    """Give the votes of exact distances and delays, and the positions they are of."""
    nodes, source = batch["node_positions"], batch["source_positions"][:, 0]
    distances = np.linalg.norm(nodes - source[:, None], axis=-1)
    centers = np.geomspace(*multilateration._DISTANCES, multilateration._RINGS)
    rings = -(np.abs(np.log(centers) - np.log(distances[..., None])) ** 2)
    one, other = correlations.node_pairs(nodes.shape[1])
    lags = (distances[:, one] - distances[:, other]) * correlations.SAMPLES_PER_METER
    kept = (np.arange(envelopes.NUM_LAGS) - envelopes.NUM_LAGS // 2) * envelopes.STEP
    peaks = np.exp(-0.5 * ((kept - lags[..., None]) / 2) ** 2)
    envelope = jnp.asarray(peaks[0], jnp.float32)
    return rings, _to_bytes(envelope, envelope)[None]


@pytest.mark.parametrize("votes", ["rings", "hyperbolas"])
@pytest.mark.parametrize("height", [0.95, 1.7])
def test_exact_distances_and_delays_give_the_exact_position(votes, height):
    """On a grid point, at any height of the nodes, among heights of the talker."""
    batch = scene(heights=(0.4, 2.3))
    batch["source_positions"] = np.array([[[6 * 5 / 16, 4 * 11 / 16, height]]], "f4")
    rings, stored = exact(batch)
    model = make(cells=16, source_heights=(0.95, 1.7))
    known = collect(batch | {"active": np.ones((1, M), bool)})
    known = known._replace(envelopes=stored)
    points = multilateration.grid_points(known.room_size, 16, (0.95, 1.7))
    # Hidden units far above zero, where a GELU is the identity.
    model.pair_first.kernel[...] = jnp.ones_like(model.pair_first.kernel[...])
    model.pair_second.kernel[...] = jnp.ones_like(model.pair_second.kernel[...])
    shared = multilateration._Shared(
        jnp.asarray(rings, jnp.float32), jnp.full((1, len(stored[0]), 16), 20.0), None
    )
    tables = multilateration.read_lags(known)
    found = model._count(known, shared, tables, points)
    score = found.rings if votes == "rings" else found.pairs[..., 0]
    peak = points[0, int(jnp.argmax(score[0]))]
    np.testing.assert_allclose(peak, batch["source_positions"][0, 0], atol=1e-5)


def test_pairs_are_read_at_the_lags_that_their_distance_allows(batch):
    delays = jnp.asarray([[0, 96, -48, 900, 1500]], jnp.float32)
    known = collect(batch)._replace(clock_offsets=delays)
    one, other = correlations.node_pairs(M)
    nodes = np.asarray(known.node_positions[0], np.float64)
    apart = np.linalg.norm(nodes[one] - nodes[other], axis=-1)
    late = np.asarray(delays[0, one] - delays[0, other])
    share = np.linspace(-1, 1, 2 * multilateration._LAGS + 1)
    lags = apart[:, None] / 343 * 16_000 * share - late[:, None]
    expected = envelopes.read(known.envelopes[0], jnp.asarray(lags, jnp.float32))
    for found, table in zip(multilateration.read_lags(known), expected, strict=True):
        np.testing.assert_allclose(found[0], table, atol=2e-3)


def test_rings_and_hyperbolas_are_trusted_apart(batch):
    model = make(cells=8)
    known = collect(batch)
    points = multilateration.grid_points(known.room_size, 8, (0.95,))
    rings = model._count(known, *model._share(known), points).rings[0]
    both = log_posteriors(model, known)[0, 0].ravel()
    for factor, bias in ((0.0, -100.0), (2.0, 100.0)):
        model.trust.bias[...] = jnp.asarray([0.0, bias])
        found = log_posteriors(model, known)[0, 0].ravel()
        np.testing.assert_allclose(found, both + (factor - 1) * rings, atol=1e-3)
        model.trust.bias[...] = jnp.asarray([bias, 0.0])
        found = log_posteriors(model, known)[0, 0].ravel()
        expected = rings + factor * (both - rings)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_coarse_code_is_a_projection_of_the_fine_posterior(batch):
    model = make(cells=16)
    known = collect(batch)
    fine = log_posteriors(model, known, 16)
    for label in (schemes.Label("uld", 4), schemes.Label("one_hot", 8)):
        logits = call(model, label, batch)
        assert logits.shape == (1, 1, label.num_outputs)
        np.testing.assert_allclose(
            logits[0, 0], label.expect(fine[0, 0]), rtol=1e-4, atol=1e-4
        )


def test_the_votes_of_a_picture_are_those_that_are_counted(model, batch):
    known = collect(batch)
    rings, hyperbolas = model.votes(known, 8)
    assert hyperbolas.shape == (1, M * (M - 1) // 2, 9, 9)
    points = multilateration.grid_points(known.room_size, 8, (0.95,))
    shared, tables = model._share(known)
    counted = model._count(known, shared, tables, points).rings
    np.testing.assert_allclose(rings.sum(axis=1).ravel(), counted[0], atol=1e-4)
    peak = np.unravel_index(np.argmax(hyperbolas.mean(axis=1)[0]), (9, 9))
    place = np.array(peak)[::-1] / 8 * ROOM[:2]  # Near: this scene has no echoes.
    miss = np.linalg.norm(place - batch["source_positions"][0, 0, :2])
    assert miss < 0.75


@pytest.mark.parametrize("resolution", [1, 3, 40])
@pytest.mark.parametrize("scheme", schemes.SCHEMES)
def test_any_label_at_any_resolution(model, batch, scheme, resolution):
    if not schemes.is_feasible(scheme, resolution):
        pytest.skip("nothing to choose")
    label = schemes.Label(scheme, resolution)
    logits = call(model, label, batch)
    assert logits.shape == (1, 1, label.num_outputs)
    assert np.isfinite(np.asarray(logits)).all()


def test_any_point_has_the_score_of_the_grid_there(model, batch):
    known = collect(batch)
    grid = multilateration.grid_points(known.room_size, 8, model.source_heights)
    scores = model.scores_at(known, grid[:, 10:20], 8)
    np.testing.assert_allclose(
        scores[0, 0],
        model.log_posteriors(known, 8)[0, 0].ravel()[10:20],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("offsets", [0.0, 3000.0])
def test_many_points_read_the_same_votes(model, batch, monkeypatch, offsets):
    """Pair by pair or point by point, lags beyond the envelopes included."""
    known = collect(batch)
    known = known._replace(clock_offsets=jnp.full((1, M), offsets).at[0, 0].set(0.0))
    few = model.log_posteriors(known, 8)
    monkeypatch.setattr(multilateration, "_MANY_POINTS", 1)
    many = model.log_posteriors(known, 8)
    np.testing.assert_allclose(many, few, rtol=1e-4, atol=1e-4)


def test_grid_points_computed_in_parts_are_the_same(model, batch, monkeypatch):
    known = collect(batch)
    whole = model.log_posteriors(known, 8)
    monkeypatch.setattr(multilateration, "_AT_ONCE", 100)
    parts = model.log_posteriors(known, 8)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trouble", ["coincident", "silent"])
@pytest.mark.parametrize("num_sources", [1, 2])
def test_gradients_are_finite(batch, trouble, num_sources):
    model = make(num_sources)
    if trouble == "coincident":
        nodes = np.zeros_like(batch["node_positions"]) + np.float32(0.95)
        batch = batch | {"node_positions": nodes}
        batch["source_positions"] = np.full((1, num_sources, 3), 0.95, np.float32)
    else:
        batch = batch | {"audio": np.zeros_like(batch["audio"])}
    batch = batch | {"source_positions": np.full((1, num_sources, 3), 0.95, "f4")}
    loss, params = loss_of(model, batch)
    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_two_sources_are_looked_for_in_two_places(batch):
    model = make(num_sources=2)
    found = posterior(model, batch)[0]
    first, second = (np.unravel_index(one.argmax(), one.shape) for one in found)
    apart = np.hypot(*(np.subtract(first, second) * [0.5, 0.75]))
    assert found.shape == (2, 9, 9)
    assert apart > 1.0


@pytest.mark.parametrize("without", multilateration.ABLATIONS[1:])
def test_what_is_left_out_has_no_influence(batch, without):
    model = make(without=without)
    loss, params = loss_of(model, batch)
    grads = nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))
    part = "pair_first" if without == "hyperbolas" else without
    if part in grads:
        unused = jax.tree.leaves(grads[part])
        assert all((np.asarray(leaf) == 0).all() for leaf in unused)
    else:  # Logarithms are averaged: as if all pairs had the same envelope there.
        whole = nnx.merge(*nnx.split(model))
        whole.without = "nothing"
        assert np.abs(posterior(model, batch) - posterior(whole, batch)).max() > 1e-3
        assert np.abs(grads["pair_first"]["kernel"]).max() > 0


def test_fewer_than_three_nodes_are_refused():
    settings = multilateration.SPEC.settings | {"name": "multilateration"}
    with pytest.raises(ValueError, match="at least 3 nodes, not 2"):
        multilateration.SPEC.check(settings, 2)
    with pytest.raises(ValueError, match="source_heights is"):
        multilateration.SPEC.check(settings | {"source_heights": ()})
