"""The session of the demonstration: late recorder, talker at three places, found again."""

import numpy as np

from uld_jax.audio import sessions
from uld_jax.evaluation import example_session, locate


def test_the_talker_of_the_example_is_found(tmp_path):
    folder = example_session.write(tmp_path / "made" / "session")
    session = sessions.open_session(folder)
    assert session.nodes == tuple(example_session.NODES)
    (found,) = locate.locate(session, locate.method(session, "fused"), 1)
    started, corrected = found.remarks
    assert started == "Node desk started 0.30 s after the first"
    # It started after 0.31 s.
    assert corrected.startswith("Node desk is 10.0 ms early in all windows")
    expected = np.repeat(np.array(example_session.PLACES)[:, :2], 4, axis=0)
    misses = np.linalg.norm(found.predicted[:, 0] - expected, axis=1)
    sure = np.array([one.determined for one in found.details])
    assert sure.sum() >= 10
    assert (misses[sure] < 0.1).all()
    # Also where all clocks were to be calibrated: all but one agree.
    (again,) = locate.locate_with_calibrated_clocks(session)
    if again.clocks.determined:
        known = np.isfinite(again.clocks.offsets)
        assert known[session.nodes.index("desk")] or known.sum() == 5
        assert np.abs(again.clocks.offsets[known][:3]).max() < 2e-4
    assert again.remarks == found.remarks
    sure = np.array([one.determined for one in again.details])
    assert sure.sum() >= 10
    misses = np.linalg.norm(again.predicted[:, 0] - expected, axis=1)
    assert (misses[sure] < 0.1).all()
    places = [turn.position for turn in found.turns]
    np.testing.assert_allclose(
        places, np.array(example_session.PLACES)[:, :2], atol=0.05
    )
