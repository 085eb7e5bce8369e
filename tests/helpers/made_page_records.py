"""Records of an examined session, and of many that were located."""


def node(name, **changed):
    """Make what is known of a node that was examined."""
    return {
        "name": name,
        "speech_db": -20.0,
        "noise_db": -41.4,
        "offset_db": -103.0,
        "hum_db": -12.0,
        "high_db": -4.0,
        "gap_seconds": 0.0,
        "bandwidth_hz": 7990.0,
        "start_s": 0.0,
        "clock_offset_s": 1e-5,
        "clock_offset_error_s": 2e-5,
        "clock_drift_ppm": None,
        "clock_drift_error_ppm": None,
        "coherence": 0.31,
        **changed,
    }


EXAMINED = {
    "session": "my <lab>",
    "written": "2026-12-01T01:00:00+00:00",
    "version": "0.1.0",
    "command": "uld_jax doctor my_lab",
    "level": 1,
    "summary": "Usable: 2 remarks",
    "room_size_m": [6.0, 4.0, 2.5],
    "nodes": ["door", "desk", "a & b"],
    "node_positions_m": [[0.0, 1.0, 1.2], [5.0, 3.0, 1.2], [3.0, 0.0, 1.2]],
    "recordings": [
        {
            "name": "monday",
            "level": 1,
            "windows": 12,
            "determined": 11,
            "places": 3,
            "clocks": "Clocks agree, so that talkers need not move",
            "geometry": "Places of nodes determine a position",
            "remarks": [
                {"node": "desk", "level": 1, "text": "Node desk started late."},
                {"node": "a & b", "level": 2, "text": "Node a & b is silent."},
            ],
            "nodes": [
                node("door"),
                node(
                    "desk",
                    start_s=0.3,
                    clock_offset_s=-0.01,
                    clock_drift_ppm=20.26,
                    clock_drift_error_ppm=1.04,
                ),
                node("a & b", coherence=None, clock_offset_s=None),
            ],
            "map": {
                "area_m": [[0.0, 0.0], [6.0, 4.0]],
                "radii_m": [[0.01, 0.3, 1.2], [0.1, 0.6, 0.04]],
                "limit_m": 1.0,
                "share_undetermined": 0.17,
                "nodes": ["door", "desk"],
            },
        }
    ],
}

LOCATED = {
    "name": "a <b> & %41?#",
    "status": "located",
    "page": "a <b> & %41?#/positions.html",
    "recordings": 2,
    "windows": 1234,
    "determined": 1000,
    "turns": 7,
    "remarks": 1,
    "left_out": ["recording 'x' has no <sound>"],
    "reason": "",
}
FAILED = {
    "name": "lost",
    "status": "failed",
    "page": None,
    "left_out": [],
    "reason": "2 problems:\n  line 1 <is> wrong\n  line 2, too",
}
WAITING = {"name": "later", "status": "waiting"}
SESSIONS = {
    "name": "spring & fall",
    "command": "uld_jax locate spring",
    "version": "0.1.0",
    "written": "2026-11-30T18:00:00+00:00",
    "settings": {"method": "srp_phat", "num_sources": 2, "run": None},
    "sessions": [LOCATED, FAILED, WAITING],
}
