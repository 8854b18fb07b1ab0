"""The manifest for Kubernetes: fields and types as KubeRay documents them, and names that agree.

KubeRay's own schema comes with no Python package, so the part of it that the manifest uses is
written down here, from its API reference (ray.io/v1) and that of Kubernetes' pods.
"""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
MANIFEST = REPOSITORY / "docs" / "clusters" / "rayjob.yaml"
pytestmark = pytest.mark.skipif(not MANIFEST.exists(), reason="needs the docs")


def table(*optional: str, **kinds: Any) -> dict[str, Any]:
    """An object with these fields and no other; those that may be missing are named first."""
    needed = [name for name in kinds if name not in optional]
    return {
        "type": "object",
        "properties": kinds,
        "required": needed,
        "additionalProperties": False,
    }


def several(kind: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": kind, "minItems": 1}


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITIES = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": r"^\d+(m|[KMG]i)?$"},
}
CONTAINER = table(
    name=TEXT,
    image=TEXT,
    workingDir=TEXT,
    resources=table(requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=several(table("readOnly", name=TEXT, mountPath=TEXT, readOnly=FLAG)),
)
POD = table(
    spec=table(
        containers=several(CONTAINER),
        volumes=several(table(name=TEXT, persistentVolumeClaim=table(claimName=TEXT))),
    )
)
SCHEMA = table(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=table(name=TEXT),
    spec=table(
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        backoffLimit=COUNT,
        rayClusterSpec=table(
            rayVersion=TEXT,
            authOptions=table(mode={"enum": ["token", "disabled"]}),
            headGroupSpec=table(rayStartParams=TEXTS, template=POD),
            workerGroupSpecs=several(
                table(
                    groupName=TEXT,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=TEXTS,
                    template=POD,
                )
            ),
        ),
    ),
)


@pytest.fixture
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return found


def pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The head's pod and the workers'."""
    cluster = manifest["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_its_fields_are_those_of_a_ray_job(manifest: dict[str, Any]) -> None:
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(manifest)


def misspell(manifest: dict[str, Any]) -> None:
    manifest["spec"]["shutdownAfterJobFinished"] = manifest["spec"].pop("shutdownAfterJobFinishes")


def write_a_number(manifest: dict[str, Any]) -> None:
    manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0


def forget_the_token(manifest: dict[str, Any]) -> None:
    del manifest["spec"]["rayClusterSpec"]["authOptions"]


@pytest.mark.parametrize("mistake", [misspell, write_a_number, forget_the_token])
def test_a_mistake_in_the_manifest_is_found(
    manifest: dict[str, Any], mistake: Callable[[dict[str, Any]], None]
) -> None:
    wrong = copy.deepcopy(manifest)
    mistake(wrong)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)


def test_every_mount_has_its_volume_and_every_pod_the_image(manifest: dict[str, Any]) -> None:
    images = set()
    for pod in pods(manifest):
        volumes = [volume["name"] for volume in pod["volumes"]]
        (container,) = pod["containers"]
        assert sorted(mount["name"] for mount in container["volumeMounts"]) == sorted(volumes)
        images.add(container["image"])
    assert len(images) == 1


def test_it_runs_where_the_image_has_the_suite(manifest: dict[str, Any]) -> None:
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^WORKDIR (.+)$", dockerfile, re.MULTILINE)
    for pod in pods(manifest):
        assert {container["workingDir"] for container in pod["containers"]} == {folder}


def test_its_command_is_one_of_pytests(
    manifest: dict[str, Any], pytestconfig: pytest.Config
) -> None:
    program, *arguments = shlex.split(manifest["spec"]["entrypoint"])
    known = pytestconfig._parser.parse(arguments)
    assert program == "pytest"
    assert known.file_or_dir == ["benchmarks"]
    assert known.stn_ray == "auto"
    (head, *_) = pods(manifest)
    mounted = {mount["mountPath"] for mount in head["containers"][0]["volumeMounts"]}
    assert {known.stn_data_root, known.stn_results_dir} == mounted


@pytest.mark.parametrize(
    ("file", "pattern"),
    [("rayjob.yaml", r"rayVersion: ([\d.]+)"), ("ray-up.yaml", r"ray==([\d.]+)")],
)
def test_the_version_of_ray_is_the_one_that_is_tested(file: str, pattern: str) -> None:
    lock = (REPOSITORY / "requirements-dev.lock").read_text(encoding="utf-8")
    (locked,) = re.findall(r"^ray==([\d.]+)", lock, re.MULTILINE)
    text = (MANIFEST.parent / file).read_text(encoding="utf-8")
    assert re.findall(pattern, text) == [locked]
