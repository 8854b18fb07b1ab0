"""The image and its services, as their files describe them; a nightly workflow runs them."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
import yaml

from stn_core.suite.checkout import COMMIT_VARIABLE

REPOSITORY = Path(__file__).parents[1]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((REPOSITORY / "compose.cpu.yaml").read_text(encoding="utf-8"))["services"]
COPIED = [
    source
    for found in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in found.split()
]


@pytest.mark.parametrize("source", COPIED)
def test_files_that_the_image_copies_exist_and_are_sent_to_the_builder(source: str) -> None:
    assert (REPOSITORY / source).exists()
    sent = False
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and line[0] != "#" and fnmatch.fnmatch(source, line.lstrip("!")):
            sent = line[0] == "!"
    assert sent


def test_both_files_have_the_same_services_and_a_stage_for_each() -> None:
    text = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
    assert set(yaml.safe_load(text)["services"]) == set(SERVICES) == {"train", "jupyter"}
    stages = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)
    assert [service["build"]["target"] for service in SERVICES.values()] == stages


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_the_callers_and_knows_its_commit(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "${STN_USER:-1000:1000}"
    assert set(service["build"]["args"]) <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert COMMIT_VARIABLE in service["build"]["args"]
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1] != "0:0"


def test_the_notebook_is_served_to_this_machine_alone() -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["jupyter"]["ports"])
    assert "ports" not in SERVICES["train"]
