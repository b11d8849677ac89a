"""What is handed out: a wheel, a sdist, an image, and what stands beside the code."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds(*extras: str) -> dict[str, str]:
    """The lower bound of each requirement of the package and of these extras."""
    optional = PROJECT["optional-dependencies"]
    words = [*PROJECT["dependencies"], *(word for extra in extras for word in optional[extra])]
    found = (re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)", word) for word in words)
    return {m[1].lower().replace("_", "-"): m[2] for m in found if m}


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned == bounds("test", "ray", "gguf", "astral", "inspect")


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("citation-file-format", ROOT / "CITATION.cff"),
        ("dependabot", GITHUB / "dependabot.yml"),
        ("github-issue-config", GITHUB / "ISSUE_TEMPLATE" / "config.yml"),
        *(
            ("github-issue-forms", GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
            for name in ("bug", "plugin", "question")
        ),
        *(("github-workflows", file) for file in sorted((GITHUB / "workflows").glob("*.yml"))),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_files_keep_to_their_schemas(schema: str, file: Path) -> None:
    checker = pytest.importorskip("check_jsonschema", reason="needs check-jsonschema: make setup")
    words = ["--builtin-schema", f"vendor.{schema}", str(file)]
    assert checker.main(words, standalone_mode=False) == 0


@pytest.mark.parametrize("file", sorted((GITHUB / "workflows").glob("*.yml")), ids=lambda f: f.stem)
def test_workflows_take_fixed_actions_few_rights_and_an_end(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    said = yaml.safe_load(text)
    assert said["permissions"] == {"contents": "read"}
    assert "concurrency" in said
    assert all(job["timeout-minutes"] <= 60 for job in said["jobs"].values())
    used = re.findall(r"uses: (.*)", text)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", word) for word in used)


def test_the_citation_names_this_version_and_every_plugins_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = (ROOT / "harness" / "_version.py").read_text(encoding="utf-8")
    assert f'"{citation["version"]}"' in version
    cited = {reference["url"] for reference in citation["references"]}
    for readme in sorted(ROOT.glob("plugins/*/README.md")):
        (first, *_) = re.findall(r"https://arxiv.org/abs/[\d.]+", readme.read_text("utf-8"))
        assert first in cited, readme
    assert cited == {url for name, url in PROJECT["urls"].items() if name.startswith("Paper")}


@pytest.mark.wheel
def test_the_sdist_builds_the_wheel_whole(tmp_path: Path) -> None:
    """``build`` makes the sdist, and the wheel from it."""
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        said = opened.read(metadata).decode()
    packages = [ROOT / "harness", *sorted(ROOT.glob("plugins/*/harness_*"))]
    here = {
        str(file.relative_to(package.parent))
        for package in packages
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.name != "harness.pth"
    }
    here |= {f"harness/{f.relative_to(ROOT)}" for f in (ROOT / "task_yamls").rglob("*.yaml")}
    assert here <= names and "harness.pth" in names
    assert all(f"{package.name}/py.typed" in names for package in packages)
    assert "Author" not in said
    assert not re.search(r"\]\((?!https?://)", said), "a link that leads nowhere on an index"
    with tarfile.open(sdist) as opened_sdist:
        inside = {name.partition("/")[2] for name in opened_sdist.getnames()}
    assert {"Makefile", "CITATION.cff", "constraints-lowest.txt", "tests/conftest.py"} <= inside
