"""Stubs for languages that have no SDK here: the templates beside the contract make them, where their plugins are."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTO = ROOT / "proto"
NODE_TOOLS = ROOT / "client_sdk" / "node" / "node_modules" / ".bin"


@dataclass(frozen=True)
class Language:
    """What a template makes.

    Attributes:
        needs: the programs that it runs.
        makes: files, and what each of them has.
    """

    needs: Sequence[str]
    makes: Mapping[str, str]


LANGUAGES = {
    "csharp": Language(
        ["protoc", "grpc_csharp_plugin"],
        {"Attach.cs": "namespace Pixied.V1", "BackendServiceGrpc.cs": "class BackendServiceClient"},
    ),
    "go": Language(
        ["go"],
        {
            "pixied/v1/attach.pb.go": "package pixiedv1",
            "pixied/v1/backend_service_grpc.pb.go": "NewBackendServiceClient(",
        },
    ),
    "java": Language(
        ["protoc", "protoc-gen-grpc-java"],
        {
            "io/github/pixied/v1/AttachRequest.java": "package io.github.pixied.v1;",
            "io/github/pixied/v1/BackendServiceGrpc.java": "BackendServiceStub newStub(",
        },
    ),
    "rust": Language(
        ["protoc-gen-prost", "protoc-gen-tonic"],
        {
            "pixied/v1/pixied.v1.rs": "pub struct AttachRequest",
            "pixied/v1/pixied.v1.tonic.rs": "pub mod backend_service_client",
            "google/rpc/google.rpc.rs": "pub struct ErrorInfo",
        },
    ),
    "typescript": Language(
        ["protoc-gen-ts_proto"],
        {
            "pixied/v1/backend_service.ts": "export const BackendServiceClient",
            "google/rpc/error_details.ts": "interface ErrorInfo",
        },
    ),
}
PATH = f"{NODE_TOOLS}{os.pathsep}{os.environ['PATH']}"


def need(*programs: str) -> None:
    """Skip a test whose programs are not on this machine. `make test` gets those that it can."""
    missing = [program for program in programs if shutil.which(program, path=PATH) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")


def run(*command: str | Path) -> None:
    """Run a program in the folder of the contract."""
    done = subprocess.run(
        command, cwd=PROTO, env=os.environ | {"PATH": PATH}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_template_is_known_here() -> None:
    """A further language gets a test too."""
    assert {path.name for path in PROTO.glob("buf.gen.*")} == {f"buf.gen.{name}.yaml" for name in LANGUAGES}


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_template_makes_stubs(name: str, tmp_path: Path) -> None:
    """Messages, a client of the service, and the details of errors where no package of the language brings them."""
    language = LANGUAGES[name]
    need(*language.needs)
    run("buf", "generate", "--template", f"buf.gen.{name}.yaml", "--output", tmp_path)
    for file, text in language.makes.items():
        assert text in (tmp_path / file).read_text()


def test_csharp_messages(tmp_path: Path) -> None:
    """The half that protoc makes; the plugin for the service comes from NuGet alone, and is on few machines."""
    need("protoc")
    template = (PROTO / "buf.gen.csharp.yaml").read_text()
    messages, services = template.split("  - local: grpc_csharp_plugin")
    assert services == "\n    out: .\n"
    (tmp_path / "messages.yaml").write_text(messages)
    run("buf", "generate", "--template", tmp_path / "messages.yaml", "--output", tmp_path)
    assert "namespace Pixied.V1" in (tmp_path / "Attach.cs").read_text()


def test_maven_makes_them_with_the_versions_of_make_stubs() -> None:
    """What the example in Java is built with is what the template is tested with."""
    pom = (ROOT / "client_sdk" / "java" / "pom.xml").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for version, artifact in {"protobuf": "protoc", "grpc": "protoc-gen-grpc-java"}.items():
        (pinned,) = re.findall(rf":{artifact}:([\d.]+):exe", makefile)
        assert f"<{version}.version>{pinned}</{version}.version>" in pom


@pytest.mark.parametrize("file", ["google/rpc/status.proto", "google/rpc/error_details.proto"])
def test_what_the_contract_needs_of_google_is_beside_it(file: str, tmp_path: Path) -> None:
    """Whoever has `proto/` alone can read an error's details."""
    run("buf", "build", ".", "--path", file, "--output", tmp_path / "image.binpb")
