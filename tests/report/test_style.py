import re

import numpy as np
from made_records import baseline_record, room_record, rooms, write

from uld_jax.labels import titles
from uld_jax.report import groups
from uld_jax.report import style as style_lib


def test_a_method_has_one_color_and_a_kind_of_training_one_line():
    runs = [
        room_record(scheme, resolution=i, source=source)
        for scheme in titles.SCHEMES
        for i in (4, 8)
        for source in ("prepared", "fresh")
    ]
    members = groups.group([*runs, *map(baseline_record, titles.METHODS)])
    styles = style_lib.styles(members)
    colors = {method: style["color"] for (method, _), style in styles.items()}
    assert len(set(colors.values())) == len(colors) == 12
    lines = {(v, s["linestyle"], s["fillstyle"]) for (_, v), s in styles.items()}
    assert len(lines) == 3  # Two kinds of training, and the baselines.
    stored, fresh = (styles["uld", variant] for variant in groups.by_variant(members))
    assert stored["linestyle"] != fresh["linestyle"]
    assert stored["fillstyle"] != fresh["fillstyle"]
    # The same in a figure of a few of them.
    alone = style_lib.styles([one for one in members if one.scheme == "uld"])
    assert alone["uld", "fresh rooms"] == styles["uld", "fresh rooms"]


def test_an_unknown_method_has_a_color_of_its_own():
    members = groups.group([room_record("mine"), room_record("uld")])
    styles = style_lib.styles(members)
    known = {look.color for look in titles.LOOKS.values()}
    assert styles["mine", ""]["color"] not in known


def test_colors_differ_in_lightness_or_hue_for_the_color_blind():
    """No two of them are the same gray with the same share of blue."""
    kinds = []
    for _, color, _ in titles.LOOKS.values():
        red, green, blue = (int(c, 16) for c in re.findall("[0-9A-F]{2}", color))
        # Who cannot tell red from green sees about their sum, and blue.
        kinds.append((0.3 * red + 0.6 * green, blue))
    gaps = np.linalg.norm(np.array(kinds)[:, None] - kinds, axis=-1)
    assert gaps[~np.eye(len(kinds), dtype=bool)].min() > 20


def test_legends_name_method_resolution_and_kind(tmp_path):
    runs = [room_record("uld", source=s) for s in ("prepared", "fresh")]
    names = [style_lib.name(one) for one in groups.group([*runs, baseline_record()])]
    assert sorted(names) == [
        "SRP-PHAT",
        "ULD, I = 4 (fixed training set)",
        "ULD, I = 4 (fresh rooms)",
    ]


def test_predictions_are_read_with_their_errors(tmp_path):
    run = write(tmp_path, room_record("uld"), rooms(5, num_sources=2, off=0.3))
    errors = style_lib.distances(style_lib.read_predictions(run))
    np.testing.assert_allclose(errors, np.full((5, 2), 0.3))
    assert style_lib.read_predictions(write(tmp_path, room_record("one_hot"))) is None


def test_ticks_are_numbers_however_small_the_range():
    for low, high in ((0.31, 0.33), (0.002, 3.0)):
        figure, axes = style_lib.plt.subplots()
        axes.plot([1, 2], [low, high])
        axes.set_yscale("log")
        style_lib.plain_ticks(axes)
        figure.canvas.draw()
        bottom, top = axes.get_ylim()
        texts = [
            label.get_text()
            for label, place in zip(
                axes.get_yticklabels(), axes.get_yticks(), strict=True
            )
            if bottom <= place <= top
        ]
        assert len(texts) >= 3
        assert all(float(text) > 0 for text in texts)
        style_lib.plt.close(figure)
