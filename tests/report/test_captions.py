from made_records import baseline_record, record, room_record

from uld_jax.report import captions, groups


def test_a_caption_says_what_the_runs_were_made_with():
    runs = [record("uld", seed) for seed in (0, 1)]
    runs[1] |= {"network": {"parameters": 20000}, "times": {"seconds": 20.0}}
    assert captions.caption("Table 1", groups.group(runs)) == (
        "**Table 1**: 1,000 training, 200 validation and 300 test segments, speech "
        "from the corpus `builtin`; 12,345 or 20,000 parameters, 2 epochs, 0.3 to 2 "
        "min a run on cpu (abacus, 2 cores)."
    )


def test_fresh_rooms_noise_and_baselines_are_named():
    runs = [room_record("uld", resolution=i, source="fresh") for i in (2, 4, 8)]
    for number, run in enumerate(runs):
        run["network"] = {"parameters": 1000 + number}
    members = groups.group([*runs, baseline_record()])
    assert captions.caption("T", members) == (
        "**T**: 992 fresh training utterances an epoch, 200 validation and 300 test "
        "utterances, speech from the corpus `builtin`, point noise from `hum`; 1,000 "
        "to 1,002 parameters, 3 epochs, 2 min a run on cpu (abacus, 2 cores). "
        "Baselines: 2 min a run on cpu (abacus, 2 cores)."
    )


def test_baselines_alone_have_no_training():
    assert captions.caption("T", groups.group([baseline_record()])) == (
        "**T**: 300 test utterances, speech from the corpus `builtin`, point noise "
        "from `hum`; 2 min a run on cpu (abacus, 2 cores)."
    )
