import pathlib
import subprocess

from uld_jax.storage import environment


def test_the_environment_says_version_commit_and_machine(monkeypatch, tmp_path):
    facts = environment.collect()
    assert facts["versions"]["jax"]
    assert facts["hardware"]["cores"] >= 1
    assert facts["hardware"]["memory_gib"] > 0
    root = pathlib.Path(environment.__file__).parent
    git = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if git.returncode == 0:
        assert facts["commit"].rstrip("+") == git.stdout.strip()
        link = tmp_path / "uld_jax"
        link.symlink_to(root)
        monkeypatch.setattr(environment, "__file__", str(link / "environment.py"))
        assert environment.collect()["commit"] == facts["commit"]
    monkeypatch.setenv("ULD_JAX_COMMIT", "abc")
    monkeypatch.setenv("PATH", "")
    assert environment.collect()["commit"] == "abc"
