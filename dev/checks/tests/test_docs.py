"""The documents: what they point to is there, and what they tell people to type is run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.conformance import documents
from dev.conformance.documents import Command

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "dev" / "localazure" / "README.md"])
FOLDERS = ("dev", "docs", "infra", "tests")
TABLED = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_tests_that_a_document_names_exist() -> None:
    known = set()
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "dev").rglob("tests/test_*.py")]:
        known |= {path.stem, *re.findall(r"def (test_\w+)", path.read_text())}
    named = {(d.name, name) for d in DOCUMENTS for name in re.findall(r"`(test_\w+)`", d.read_text())}
    assert len(named) > 50
    assert sorted(pair for pair in named if pair[1] not in known) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", TABLED, ids=lambda path: str(path.relative_to(ROOT)))
def test_cell_of_a_table_has_forty_words_at_most(document: Path) -> None:
    """What is longer is a paragraph or a list. Where a link leads to is no word."""
    rows = [line for line in prose(document).splitlines() if line.startswith("|")]
    cells = [cell for row in rows for cell in re.split(r"(?<!\\)\|", _LINK.sub("]", row))]
    assert [cell.strip() for cell in cells if len(cell.split()) > 40] == []


def test_every_command_of_the_documents_is_run_by_somebody_or_listed_with_the_reason_why_not() -> None:
    commands = documents.commands()
    assert len(commands) > 100
    wrong = {(c.document, c.section, c.plain): documents.runners(c) for c in commands if len(documents.runners(c)) != 1}
    assert wrong == {}, f"run it, or add it under {documents.LIST!r} in docs/deployment.md"


def test_list_of_commands_that_nothing_runs_holds_no_other() -> None:
    listed = [c.plain for c in documents.commands() if documents.runners(c) == ["list"]]
    for pattern, reason in documents.not_run().items():
        assert reason
        expression = ".*".join(re.escape(part) for part in pattern.split("…"))
        assert any(re.fullmatch(expression, text) for text in listed), f"{pattern} is in no document"


def test_placeholders_of_commands_are_filled_in_one_way() -> None:
    played = documents.played()
    filled = [Command("", "", command.filled).plain for command in played]
    assert [text for text in filled if re.search("…|<[a-z]", text)] == []
    for placeholder in documents.PLACEHOLDERS:
        assert any(placeholder in command.text for command in documents.commands()), f"{placeholder} stands nowhere"


def test_blocks_of_commands_are_consoles() -> None:
    """So that their commands are found."""
    for document in documents.DOCUMENTS:
        assert re.findall(r"^```(sh|bash|shell)$", (ROOT / document).read_text(), re.MULTILINE) == [], document


SAMPLE = """\
# One

Say `az acr show --name x`, not `az acr show`, and `kubectl get pods`.

## Two

```console
$ for name in a b; do    # each
      echo "$name"
  done
{"an": "answer",
 "of": "it"}
$ az acr run --file - /dev/null <<'END'
steps:
  - cmd: x
END
$ curl -X POST "$URL" \\
       -d '{}'    # why
```
"""


def test_commands_are_read_as_they_are_typed() -> None:
    found = list(documents.read("x.md", SAMPLE))
    assert [(command.section, command.plain) for command in found] == [
        ("One", "az acr show --name x"),
        ("Two", 'for name in a b; do echo "$name" done'),
        ("Two", "az acr run --file - /dev/null <<'END' steps: - cmd: x END"),
        ("Two", """curl -X POST "$URL" -d '{}'"""),
    ]
    assert found[2].text.splitlines()[1:] == ["steps:", "  - cmd: x", "END"]


@pytest.mark.parametrize("text", ["kubectl get pods", "make sandwich", "docker push x", "sudo reboot"])
def test_command_that_nobody_runs_is_found(text: str) -> None:
    assert documents.runners(Command("README.md", "Try it", text)) == []
