"""The stock lm_eval command sees everything, from a wheel and from an editable install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "tests" / "example_plugin"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that borrows heavy dependencies from the one the tests run in."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def run(
        self, *words: str | Path, cwd: Path, fails: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(w) for w in words],
            cwd=cwd,
            env=os.environ | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"} | env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    def pip(self, *words: str | Path) -> None:
        self.run(
            self.python, "-m", "pip", "install", "-q", "--no-deps", "--no-index",
            "--no-build-isolation", *words, cwd=self.folder,
        )  # fmt: skip


def new_environment(
    folder: Path, scripts: Sequence[str] = ("lm_eval", "accelerate")
) -> Environment:
    venv.create(folder, with_pip=True)
    environment = Environment(folder)
    borrowed = sysconfig.get_paths()["purelib"]
    (environment.site / "borrowed.pth").write_text(borrowed + "\n")
    for name in scripts:  # their stock entry points, run by this environment's Python
        module = {"lm_eval": "lm_eval.__main__:cli_evaluate"}.get(
            name, "accelerate.commands.accelerate_cli:main"
        )
        source, _, function = module.partition(":")
        script = folder / "bin" / name
        script.write_text(
            f"#!{environment.python}\nimport sys\nfrom {source} import {function}\n"
            f"sys.exit({function}())\n"
        )
        script.chmod(0o755)
    return environment


def build_wheel(source: Path, out: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def from_wheel(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("wheel")
    environment = new_environment(folder / "venv")
    environment.pip(build_wheel(ROOT, folder / "dist"))
    return environment


@pytest.fixture(scope="module")
def from_checkout(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = new_environment(tmp_path_factory.mktemp("editable") / "venv")
    environment.pip("--editable", ROOT)
    return environment


@pytest.fixture(params=["from_wheel", "from_checkout"])
def environment(request: pytest.FixtureRequest) -> Environment:
    found: Environment = request.getfixturevalue(request.param)
    return found


def results_in(folder: Path) -> dict[str, dict[str, object]]:
    (file,) = folder.rglob("results_*.json")
    results: dict[str, dict[str, object]] = json.loads(file.read_text())["results"]
    return results


LINE = (
    "lm_eval --model hf --model_args pretrained=$(harness testbed path teacher) "
    "--tasks axbench_steer,llm_aggrefact --metadata data=testbed --output_path out"
)


def test_the_line_that_must_always_work(environment: Environment, tmp_path: Path) -> None:
    environment.run("sh", "-c", f"{LINE} --limit 2 --batch_size 8", cwd=tmp_path)
    results = results_in(tmp_path / "out")
    assert {"axbench_steer", "llm_aggrefact", "llm_aggrefact_wice"} <= set(results)
    assert isinstance(results["axbench_steer"]["overall_score,none"], float)


WAYS = {
    "python -m lm_eval": ["python", "-m", "lm_eval", "run"],
    "accelerate launch": [
        "accelerate", "launch", "--cpu", "--num_processes", "1", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "lm_eval", "run",
    ],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_other_way_of_starting_lm_eval(
    from_wheel: Environment, tmp_path: Path, way: str
) -> None:
    words = ["--model", "hf-fact-checker", "--model_args", "pretrained=testbed:checker"]
    words += ["--tasks", "llm_aggrefact_wice", "--metadata", "data=testbed"]
    words += ["--device", "cpu", "--limit", "2", "--output_path", "out"]
    from_wheel.run(*WAYS[way], *words, cwd=tmp_path)
    assert "llm_aggrefact_wice" in results_in(tmp_path / "out")


def test_the_python_interface(from_wheel: Environment, tmp_path: Path) -> None:
    code = (
        "import lm_eval\n"
        "r = lm_eval.simple_evaluate('dummy', tasks=['llm_aggrefact_wice'], limit=4,"
        " metadata={'data': 'testbed'})\n"
        "print(sorted(r['results']))"
    )
    done = from_wheel.run("python", "-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "['llm_aggrefact_wice']"


def test_task_folders_are_found_in_both_modes(environment: Environment, tmp_path: Path) -> None:
    code = "from harness.host.task_files import task_folder; print(task_folder('factcg'))"
    folder = Path(environment.run("python", "-c", code, cwd=tmp_path).stdout.strip())
    assert (folder / "llm_aggrefact.yaml").is_file()


def test_a_checkouts_task_folder_serves_include_path(
    from_checkout: Environment, tmp_path: Path
) -> None:
    words = ["lm_eval", "ls", "groups", "--include_path", ROOT / "task_yamls"]
    done = from_checkout.run(*words, cwd=tmp_path)
    assert "llm_aggrefact" in done.stdout


def test_a_third_party_wheel(from_wheel: Environment, tmp_path: Path) -> None:
    wheel = build_wheel(EXAMPLE, tmp_path / "dist")
    target = tmp_path / "third_party"
    from_wheel.pip("--target", target, wheel)
    env = {"PYTHONPATH": str(target)}
    done = from_wheel.run("harness", "plugins", cwd=tmp_path, COLUMNS="200", **env)
    assert "hf-majority" in done.stdout and "word_sums" in done.stdout
    line = (
        "lm_eval --model hf-majority --model_args "
        "pretrained=$(harness testbed path teacher),votes=3 --tasks word_sums "
        "--limit 2 --device cpu --output_path out"
    )
    from_wheel.run("sh", "-c", line, cwd=tmp_path, **env)
    assert "exact_match,word" in results_in(tmp_path / "out")["word_sums"]
    done = from_wheel.run("harness", "majority", "rows", "--limit", "1", cwd=tmp_path, **env)
    assert done.stdout == "What is zero plus zero? zero\n"
    shutil.copytree(EXAMPLE / "tests", tmp_path / "its_tests")
    words = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "its_tests"]
    from_wheel.run(*words, cwd=tmp_path, **env)

    (target / "harness_majority" / "plugin.py").write_text("import a_module_nobody_has\n")
    done = from_wheel.run("harness", "plugins", cwd=tmp_path, COLUMNS="200", **env)
    assert "a_module_nobody_has" in done.stdout and "broken" in done.stdout
    from_wheel.run("lm_eval", "validate", "--tasks", "hellaswag", cwd=tmp_path, **env)
    needs_it = ["lm_eval", "--model", "dummy", "--tasks", "word_sums"]
    done = from_wheel.run(*needs_it, cwd=tmp_path, fails=True, **env)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: tasks not found: word_sums") and "a_module_nobody_has" in last
