"""A process that is killed while it saves leaves the old file or the new one, never half."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A process with everything at hand forks another, which saves two versions by turns until it is
# killed, at a random moment; what then lies in the folder must be either version.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import microgradx as mx
from microgradx import nn

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
models = [nn.MLP(8, [32, 1], seed=seed) for seed in range(2)]
results = [mx.Value(2.0 + seed, "x").tanh() for seed in range(2)]
for result in results:
    result.backward()
SAVES = {
    "model.npz": [model.save for model in models],
    "model.safetensors": [model.save for model in models],
    "page.html": [mx.page(result).save for result in results],
    "why.html": [mx.why(result.inputs[0], result).save for result in results],
    "picture.dot": [mx.draw(result).save for result in results],
    "picture.svg": [mx.draw(result).save for result in results],
}
(folder / "twice").mkdir()
VERSIONS = {
    name: [save(folder / "twice" / name).read_bytes() for save in saves]
    for name, saves in SAVES.items()
}

def save_for_ever(path, saves, start):
    for turn in range(start, sys.maxsize):
        saves[turn % 2](path)

dice, files, drafts = random.Random(os.urandom(8)), {}, 0
for turn in range(kills):
    name = list(SAVES)[turn % len(SAVES)]
    path = folder / name
    before = time.perf_counter()
    SAVES[name][turn % 2](path)
    takes = time.perf_counter() - before
    child = os.fork()
    if not child:
        save_for_ever(path, SAVES[name], turn + 1)
    time.sleep(dice.uniform(0.0, 4 * takes))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    version = VERSIONS[name].index(path.read_bytes())  # a ValueError where it is neither
    files[name, version] = files.get((name, version), 0) + 1
    for draft in folder.glob("*.part"):
        drafts += 1
        draft.unlink()
print(sum(files.values()), len(files), drafts)
"""


def killed(folder, times):
    """How many kills there were, files by version after them, and how many left a draft behind."""
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    run = subprocess.run([sys.executable, "-c", KILLS, str(folder), str(times)], timeout=600,
                         capture_output=True, text=True, env=environment)  # fmt: skip
    assert run.returncode == 0, run.stderr
    return map(int, run.stdout.split())


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
def test_a_killed_save_leaves_the_old_file_or_the_new_one(tmp_path):
    kills, *_ = killed(tmp_path, 12)
    assert kills == 12


@needs_fork
@pytest.mark.long
def test_two_hundred_killed_saves_leave_the_old_files_or_the_new_ones(tmp_path):
    kills, versions, drafts = killed(tmp_path, 204)
    assert (kills, versions) == (204, 12)  # both versions of all six
    assert drafts > 0  # some were in the midst of writing
