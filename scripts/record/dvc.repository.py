#!/usr/bin/env python3
"""Records what the hook dvc_hook.py says of commits in a DVC repository.

Needs    Python 3.11, git.
Installs dvc into the cache.
Writes   schemas/sources/dvc.repository/testdata/hook.ndjson

A data set is added, grows, is replaced by another of the same size, renamed and
removed; a model is added. All is made by real dvc and git runs in a folder of
the cache; nothing is replaced.
"""

import os
import subprocess

import common

PACKAGES = ["dvc==3.67.1"]


def main():
    python, work = common.venv("dvc", PACKAGES), common.cache_dir("dvc") / "run"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    work.mkdir()
    hook = common.REPO / "scripts" / "record" / "dvc_hook.py"
    env = {"PATH": os.path.dirname(python) + ":" + os.environ["PATH"], "HOME": str(work), "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_NOSYSTEM": "1",
           "GIT_AUTHOR_NAME": "Ana", "GIT_AUTHOR_EMAIL": "ana@example.com", "GIT_COMMITTER_NAME": "Ana", "GIT_COMMITTER_EMAIL": "ana@example.com"}
    repo, lines = work / "repo", []
    repo.mkdir()

    def sh(*args, **more):
        return subprocess.run(args, check=True, cwd=repo, env={**env, **more}, capture_output=True, text=True).stdout

    def commit(message, **more):
        sh("git", "add", "-A")
        sh("git", "commit", "-q", "-m", message, **more)
        lines.append(sh(python, str(hook), **more))

    sh("git", "init", "-q", "-b", "main")
    sh("git", "remote", "add", "origin", "https://git.example.com/ml/fraud.git")
    sh("dvc", "init", "-q")
    sh("dvc", "remote", "add", "-d", "store", "https://store.example.com/dvc")
    sh("git", "commit", "-q", "-m", "start")
    (repo / "train.csv").write_text("id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(500)))
    sh("dvc", "add", "-q", "train.csv")
    commit("training data")
    with open(repo / "train.csv", "a") as f:
        f.write("".join(f"{i},{i % 2}\n" for i in range(500, 900)))
    sh("dvc", "add", "-q", "train.csv")
    commit("more training data")
    (repo / "model.pkl").write_bytes(b"weights" * 300)
    (repo / "eval").mkdir()
    for i in range(3):
        (repo / "eval" / f"part-{i}.csv").write_text(f"id,label\n{i},1\n")
    sh("dvc", "add", "-q", "model.pkl", "eval")
    commit("model and evaluation set")
    mallory = {"GIT_AUTHOR_NAME": "mallory", "GIT_AUTHOR_EMAIL": "mallory@example.net"}
    (repo / "train.csv").write_text((repo / "train.csv").read_text().replace(",0\n", ",1\n"))
    sh("dvc", "add", "-q", "train.csv")
    (repo / "model.pkl").write_bytes(b"WEIGHTS" * 300)
    sh("dvc", "add", "-q", "model.pkl")
    commit("fix typo", **mallory)
    sh("dvc", "move", "-q", "train.csv", "train_v2.csv")
    commit("rename")
    sh("dvc", "remove", "model.pkl.dvc")
    commit("drop the model", **mallory)
    common.write(common.testdata("dvc.repository") / "hook.ndjson", "".join(lines).encode())


if __name__ == "__main__":
    main()
