"""Compares the time of a whole step, environment and agent, between checkouts: several processes of each, interleaved.

git worktree add --detach ../before 9ec06f0
OMP_NUM_THREADS=1 python benchmarks/whole_step.py ../before . --agent ../before=results/carracing-full

Every process drives the same 12 episodes, 300 steps of each; the two sides take turns. `whole_step_us` in
`results/contracts-before-after.json` was made so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

EPISODES, STEPS = 12, 300
# Runs in a checkout, whose package it imports. On each line of stdin it drives an episode.
_DRIVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, ".")
from vmc.envs import make_env
from vmc.episode import Limits, run_episode
from vmc.models.agent import load_agent
from vmc.seeding import stream
agent, env = load_agent(Path(sys.argv[1]), "CarRacing-v3"), make_env("CarRacing-v3")
run_episode(env, agent, 1, stream(1, "agent"), Limits(50))
print("ready", flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    result = run_episode(env, agent, int(line), stream(1, "agent"), Limits(int(sys.argv[2])))
    seconds = time.perf_counter() - started
    print(seconds / (getattr(result, "episode_length", None) or result.length), flush=True)
"""


def main() -> None:
    """Prints the medians of all processes in microseconds, and the ratio of their medians to the first checkout's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", help="folders of checkouts, the first one is the baseline")
    parser.add_argument("--agent", action="append", default=[], metavar="CHECKOUT=RUN", help="its agent's folder")
    parser.add_argument("--processes", type=int, default=10, help="of each checkout, one after another")
    given = parser.parse_args()
    agents = dict(pair.split("=", 1) for pair in given.agent)
    medians: dict[str, list[float]] = {checkout: [] for checkout in given.checkouts}
    for _ in range(given.processes):
        for checkout, median in _side_by_side(given.checkouts, agents).items():
            medians[checkout].append(round(median, 1))
    baseline = statistics.median(medians[given.checkouts[0]])
    ratios = {checkout: round(baseline / statistics.median(found), 3) for checkout, found in medians.items()}
    print(json.dumps({"us": medians, "rate / the first one's": ratios}, indent=1))


def _side_by_side(checkouts: list[str], agents: dict[str, str]) -> dict[str, float]:
    processes = {checkout: _start(checkout, agents.get(checkout, "results/carracing")) for checkout in checkouts}
    seconds: dict[str, list[float]] = {checkout: [] for checkout in checkouts}
    for episode in range(EPISODES):
        for checkout in checkouts if episode % 2 else checkouts[::-1]:
            seconds[checkout].append(float(_ask(processes[checkout], str(episode))))
    for process in processes.values():
        process.communicate()
    return {checkout: 1e6 * statistics.median(found) for checkout, found in seconds.items()}


def _start(checkout: str, agent: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _DRIVER, agent, str(STEPS)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=Path(checkout), stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def _ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline()


if __name__ == "__main__":
    main()
