import pytest
from made_records import baseline_record, conditions, record, room_record, write

from uld_jax.report import groups


def test_seeds_are_averaged_with_their_spread():
    runs = [record("uld", seed, mae=mae) for seed, mae in enumerate((0.1, 0.2, 0.3))]
    (group,) = groups.group(runs)
    assert group.metric("mae") == "0.200 ± 0.100"
    assert group.metric("accuracy", 100.0, 1) == "90.0 ± 0.0"


def test_other_settings_and_other_speech_are_not_averaged():
    wide = record("uld", mae=0.2)
    wide["settings"]["model"]["width"] = 128
    moved = record("uld", seed=1)
    moved["settings"]["data"]["dir"] = "elsewhere"
    found = groups.group([record("uld"), wide, moved])
    assert [(one.label, len(one.runs)) for one in found] == [
        ("ULD (model.width 64)", 2),
        ("ULD (model.width 128)", 1),
    ]
    other = record("uld")
    other["data"]["corpus"]["fingerprint"] = "other"
    assert len(groups.by_data(groups.group([record("uld"), other]))) == 2


def test_the_same_run_twice_is_refused():
    with pytest.raises(ValueError, match="are the same run"):
        groups.group([record("uld"), record("uld")])
    with pytest.raises(ValueError, match="are the same run"):
        groups.group([baseline_record(), baseline_record()])


def test_stored_compact_and_fresh_runs_share_a_test_set_and_are_not_averaged():
    runs = [room_record("uld", source=s) for s in ("prepared", "compact", "fresh")]
    runs.append(room_record("uld", 1, source="fresh"))
    found = groups.group([*runs, baseline_record()])
    assert len(groups.by_data(found)) == 1
    assert found[0].data.name == "simulated/ad1:1.0.0"
    assert found[0].data.table == "Table 2"
    assert [(one.label, len(one.runs)) for one in found] == [
        ("ULD (base)", 2),
        ("ULD (fixed training set in compact form)", 1),
        ("ULD (fixed training set)", 1),
        ("SRP-PHAT", 1),
    ]
    assert found[0].details == "fresh rooms"


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"data": {"noise_field": "diffuse"}}},
        {"settings": {"data": {"engine": "pyroomacoustics"}}},
        {"data": {"noise": {"name": "hum", "fingerprint": "other"}}},
        {"data": {"sizes": {"train": 1000, "validation": 200, "test": 100}}},
        {"data": {"name": "simulated/ad1:2.0.0"}},
    ],
)
def test_other_test_data_are_apart(change):
    other = room_record("uld")
    for part, values in change.items():
        for key, value in values.items():
            if isinstance(value, dict):
                other[part].setdefault(key, {}).update(value)
            else:
                other[part][key] = value
    assert len(groups.by_data(groups.group([room_record("uld"), other]))) == 2


def test_variants_say_what_differs_from_most_runs():
    runs = [room_record("uld", resolution=i) for i in (2, 4, 8)]
    no_pit = room_record("uld")
    no_pit["settings"]["train"]["permutation_invariant"] = False
    perturbed = room_record("one_hot")
    perturbed["settings"]["data"] |= {"clock_offset": 0.01, "nodes_in_training": None}
    found = groups.group([*runs, no_pit, perturbed])
    assert [(one.title, one.resolution, one.variant) for one in found] == [
        ("One-hot", 4, "data.clock_offset 0.01, data.nodes_in_training unset"),
        ("ULD", 2, "base"),
        ("ULD", 4, "base"),
        ("ULD", 4, "no PIT"),
        ("ULD", 8, "base"),
    ]
    assert found[1].details == (
        "without data.clock_offset, without data.nodes_in_training, PIT"
    )
    assert next(iter(groups.by_variant(found))) == "base"


def test_networks_are_compared_with_others_of_their_kind():
    def votes(**settings):
        one = room_record("uld", resolution=16)
        one["settings"]["model"] = {"name": "multilateration"} | settings
        one["settings"]["train"]["batch_size"] = 8
        return one

    runs = [room_record("uld", resolution=i) for i in (4, 16)]
    found = groups.group([*runs, votes(without="nothing"), votes(without="rings")])
    assert [(one.resolution, one.variant) for one in found] == [
        (4, ""),
        (16, ""),
        (16, "multilateration, nothing left out"),
        (16, "multilateration, without rings"),
    ]
    (alone,) = groups.group([votes()])
    assert alone.variant == ""


def test_of_as_many_runs_the_base_is_what_is_most_like_the_others():
    def run(front_end, grid_init):
        one = room_record("uld")
        one["settings"]["model"] |= {"front_end": front_end, "grid_init": grid_init}
        return one

    found = groups.group([run("a", "smooth"), run("b", "smooth"), run("b", "rough")])
    assert [one.variant for one in found] == [
        "base",
        "model.front_end a",
        "model.grid_init rough",
    ]


def test_of_as_many_runs_the_one_without_pit_comes_last():
    no_pit = room_record("uld", resolution=2)
    no_pit["settings"]["train"]["permutation_invariant"] = False
    found = groups.group([no_pit, room_record("uld", resolution=8)])
    assert list(groups.by_variant(found)) == ["PIT", "no PIT"]
    assert [one.variant for one in found] == ["no PIT", "PIT"]  # By I.


def test_runs_that_did_not_converge_are_counted_and_not_averaged():
    runs = [room_record("uld", seed, mae=mae) for seed, mae in enumerate((0.1, 0.3, 9))]
    runs[2]["converged"] = False
    diverged = room_record("uld", 3) | {"status": "diverged", "test": None}
    (group,) = groups.group([*runs, diverged])
    assert group.metric("mae") == "0.200 ± 0.141 (2 of 4)"
    (lost,) = groups.group([diverged])
    assert lost.metric("mae") == "/"
    assert lost.validation_mae is None
    assert groups.representatives([lost]) == []


def test_figures_show_the_resolution_that_validation_chose():
    runs = [room_record("uld", resolution=i, mae=m) for i, m in ((4, 0.3), (8, 0.2))]
    # Best on the test set, not on validation.
    runs.append(room_record("uld", resolution=16, mae=0.5))
    runs[-1]["test"]["mae"] = 0.1
    runs.append(room_record("uld", resolution=4, source="fresh"))
    found = groups.group([*runs, baseline_record(), baseline_record("tdoa_ls")])
    chosen = groups.representatives(found)
    assert [(one.title, one.resolution, one.variant) for one in chosen] == [
        ("ULD", 8, "fixed training set"),
        ("ULD", 4, "fresh rooms"),
        ("SRP-PHAT", None, ""),
        ("TDOA least squares", None, ""),
    ]


def test_the_quantization_error_is_known_from_all_and_must_agree():
    found = groups.group([room_record("uld", resolution=3), baseline_record()])
    limits = groups.quantization_errors(found)
    assert limits == {i: 2.7 / i for i in (1, 2, 3, 4, 8, 16, 32)}
    other = room_record("one_hot", resolution=8, quantization_error=0.4)
    with pytest.raises(ValueError, match=r"QE at I = 8 .* 'runs/one_hot_I8"):
        groups.quantization_errors(groups.group([baseline_record(), other]))


def test_conditions_are_averaged_over_seeds(tmp_path):
    for seed, mae in enumerate((0.1, 0.3)):
        write(tmp_path, room_record("uld", seed), conditions=conditions(mae))
    write(tmp_path, room_record("uld", 2))  # Not tested under conditions.
    (group,), _ = groups.read([tmp_path])
    found = group.conditions()
    assert found.examples == 80
    assert found.num_nodes == 30
    assert found.values["mae"]["none", 0.0, "bare"] == pytest.approx(0.2)
    assert found.values["mae"]["num_nodes", 5, "bare"] == pytest.approx(0.205)
    short = conditions(0.5) | {"conditions": conditions(0.5)["conditions"][:1]}
    write(tmp_path, room_record("uld", 4), conditions=short)
    write(tmp_path, room_record("uld", 5), conditions=short | {"conditions": []})
    (group,), _ = groups.read([tmp_path])
    values = group.conditions().values
    assert values["mae"] == {("none", 0.0, "bare"): pytest.approx(0.3)}
    other = write(tmp_path, room_record("uld", 3), conditions=conditions(0.1, 40))
    (group,), _ = groups.read([tmp_path])
    with pytest.raises(ValueError, match=r"of \[40, 80\] examples"):
        group.conditions()
    (one,) = groups.group([room_record("uld") | {"folder": str(tmp_path / "no")}])
    assert one.conditions() is None
    (tmp_path / other["folder"] / "conditions.json").write_text("{")
    (group,), _ = groups.read([other["folder"]])
    with pytest.raises(ValueError, match="cannot be read"):
        group.conditions()


def test_what_has_not_ended_is_named(tmp_path):
    running = write(tmp_path, room_record("uld") | {"status": "running"})
    with pytest.raises(ValueError, match=r"no finished run; unfinished ones: .*uld_I4"):
        groups.read([tmp_path])
    lost = room_record("uld", 1) | {"status": "diverged", "test": None}
    write(tmp_path, lost)
    found, others = groups.read([tmp_path])
    assert [one.runs[0]["status"] for one in found] == ["diverged"]
    assert others == [running["folder"]]
