"""What the documents point to exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "pixied_server"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("client_sdk/*/README.md")])


def links(text: str) -> Iterator[str]:
    """The files that a document links to, relative to it."""
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Each relative link names a file or folder of the repository."""
    dead = [target for target in links(document.read_text()) if not (document.parent / target).exists()]
    assert not dead


def test_the_architecture_names_real_modules() -> None:
    """Each module that docs/architecture.md sends its reader to is there."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    modules = set(re.findall(r"`((?:core|engine|delivery|rpc|admin|cli|settings)/[\w/]*(?:\.py)?|\w+\.py)`", text))
    assert len(modules) > 10, "the page names hardly any module: is this test's pattern right?"
    bases = (SERVER, SERVER / "engine")
    assert not [module for module in modules if not any((base / module).exists() for base in bases)]
