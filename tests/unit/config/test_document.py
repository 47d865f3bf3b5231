from __future__ import annotations

import contextlib
import random
import textwrap

import pytest

from nvoi.config.document import Document, write_data
from nvoi.config.nodes import decode, to_data
from nvoi.errors import ConfigError, UsageError


def parse(text: str) -> Document:
    return Document(textwrap.dedent(text), "deploy.yml")


def read(document: Document, path: str) -> object:
    return to_data(document.get(path))


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Document(text, "deploy.yml")
    assert len(caught.value.faults) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "deploy.yml:1:1: the document is empty"),
        ("# only a comment\n", "deploy.yml:1:1: the document is empty"),
        ("---\n", "deploy.yml:1:1: the document is empty"),
        ("- one\n", "deploy.yml:1:1: a mapping is needed"),
        ("just text\n", "deploy.yml:1:1: a mapping is needed"),
        ("a: 1\n---\nb: 2\n", "deploy.yml:2:1: a second document begins"),
        ("a: b: c\n", "deploy.yml:1:5: not YAML: a second `: `"),
        ("a: 1\n\tb: 2\n", "deploy.yml:2:1: not YAML: a tab cannot indent"),
        ("a: 'one\n", "not YAML: a quote is opened and never closed"),
        ("a: [1, 2\nb: 3\n", "deploy.yml:2:"),
        ("a: 1\n b: 2\n", "deploy.yml:2:"),
        ("a: @x\n", "deploy.yml:1:4: not YAML"),
        ('a: "\\q"\n', "not YAML: an unknown `\\` escape"),
        ("a: *gone\n", "deploy.yml:1:4: a: an alias (`*`) without its anchor"),
        ("a: &a [1, *a]\n", "deploy.yml:1:11: a.1: an alias inside what it stands for"),
        ("a: &a {b: *a}\n", "deploy.yml:1:11: a.b: an alias inside what it stands for"),
        ("a: 1\nb: \x07\n", "deploy.yml:2:4: a control character"),
        ("a: \ud800\n", "deploy.yml:1:4: a control character"),
        ("[" * 200, "deploy.yml:1:51: nested too deep: 50 levels"),
    ],
)
def test_what_is_no_single_mapping_is_refused_with_its_place(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1, "a", "is given twice, first on line 1")),
        ("a:\n  b: {c: 1, c: 2}\n", (2, 13, "a.b.c", "is given twice, first on line 2")),
        ("a: !ruby/object:Thing {}\n", (1, 4, "a", "a tag (`!`) is not allowed")),
        ("a: !!python/name:os.system x\n", (1, 4, "a", "a tag (`!`) is not allowed")),
        ("a: !!binary aGk=\n", (1, 4, "a", "a tag (`!`) is not allowed")),
        ("{[1]: 2}\n", (1, 2, "", "a key must be a name")),
        ("a: {<<: 3}\n", (1, 5, "a", "`<<` merges mappings only")),
    ],
)
def test_what_is_wrong_in_a_readable_document_is_kept_for_the_report(
    text: str, fault: tuple[int, int, str, str]
) -> None:
    (found,) = parse(text).faults
    assert (found.line, found.column, found.path) == fault[:3]
    assert found.message.startswith(fault[3])


@pytest.mark.parametrize("kind", ["sequence", "mapping", "merge"])
def test_an_anchor_bomb_is_refused_without_being_expanded(kind: str) -> None:
    lines = {
        "sequence": [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)],
        "mapping": [
            f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(9))}}}"
            for n in range(1, 30)
        ],
        "merge": [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)],
    }[kind]
    message = refused("a0: &a0 {x: 1}\n" + "\n".join(lines))
    assert "too many values: 10,000 are allowed" in message


def test_a_plain_flood_of_values_is_refused_before_the_end_is_read() -> None:
    assert "too many values" in refused("a: [" + "x," * 50_000)


def test_aliases_and_merge_keys_work_and_own_keys_win() -> None:
    document = parse("""\
        base: &base {one: 1, two: 2}
        more: &more {two: 22, three: 3}
        all:
          two: own
          <<: [*base, *more]
        same: *base
    """)
    assert read(document, "all") == {"two": "own", "one": "1", "three": "3"}
    assert read(document, "same") == {"one": "1", "two": "2"}


def test_scalars_stay_the_text_that_was_written() -> None:
    document = parse("a: 1.10\nb: 0042\nc: yes\nd: 2024-01-01\ne: !!str 7\nf: '~'\n")
    assert [read(document, key) for key in "abcdef"] == [
        "1.10",
        "0042",
        "yes",
        "2024-01-01",
        "7",
        "~",
    ]


def test_a_byte_order_mark_is_left_off_and_other_encodings_are_refused() -> None:
    assert decode(b"\xef\xbb\xbfa: 1\n", "f") == "a: 1\n"
    with pytest.raises(ConfigError, match=r"^f:2:6: not UTF-8"):
        decode("ä: 1\nb: äö".encode() + b"\xff", "f")
    with pytest.raises(ConfigError, match=r"^f:1:1: not UTF-8"):
        decode("a: 1\n".encode("utf-16"), "f")


@pytest.mark.parametrize("path", ["application.nam", "application.app.1", "", "application.name.x"])
def test_a_path_that_is_not_there_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="has no key"):
        parse("application: {name: shop, app: [x]}\n").get(path)


CONFIG = """\
# at the top
application:
    name: shop  # the name
    app:
        web:
            servers:
              - main
            port: 80 # the port
            command: 'old'  # the command

# at the end
"""


def test_setting_a_value_changes_nothing_else() -> None:
    document = Document(CONFIG, "f")
    document.set("application.app.web.port", 3000)
    assert document.text == CONFIG.replace("port: 80", "port: 3000")
    assert read(document, "application.app.web.port") == "3000"


def test_any_printable_text_is_read_back_as_it_was_set() -> None:
    alphabet = "ab \n\t:#-'\"{}[]&*!|>%@`,?\\é\u2028\x85$=~01.\r"
    choose = random.Random(7)
    document = Document(CONFIG, "f")
    for _ in range(50):
        text = "".join(choose.choice(alphabet) for _ in range(choose.randrange(12)))
        document.set("application.app.web.command", text)
        assert read(document, "application.app.web.command") == text
        assert read(document, "application.app.web.port") == "80"


def test_a_new_document_says_what_it_is_made_of_with_its_comments() -> None:
    data = {"a": {"b c": ["x", "no"], "d": {}, "e": {"f": 8, "g": True}}, "h": "two\nlines"}
    text = write_data(data, {"a": "", "a.e": "About e.", "h": "About h."})
    assert text == (
        '\na:\n  "b c": [x, "no"]\n  d: {}\n\n  # About e.\n  e:\n    f: 8\n    g: true\n'
        "\n# About h.\nh: |-\n  two\n  lines\n"
    )


def test_a_list_is_written_as_a_list() -> None:
    document = parse("a: 1\n")
    document.set("b", ["main", "on"])
    assert read(document, "b") == ["main", "on"]
    assert '"on"' in document.text


def test_an_item_of_a_list_can_be_set() -> None:
    document = parse("a: [x, y]\n")
    document.set("a.1", "z")
    assert document.text == "a: [x, z]\n"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("name.first", "name is a value, not a section"),
        ("app", "is a section"),
        ("", "a path such as"),
        ("app.", "a path such as"),
        ("list.7", "has the items 0 to 1"),
        ("list.x", "has the items 0 to 1"),
        ("copy.one", "shared by several places"),
        ("merged.inner.one", "shared by several places"),
    ],
)
def test_a_path_that_cannot_be_set_is_refused_and_nothing_changes(path: str, message: str) -> None:
    document = parse("""\
        name: shop
        app: {web: {}}
        list: [1, 2]
        base: &base {one: 1, inner: &inner {one: 1}}
        copy: *base
        merged: {<<: *base}
    """)
    before = document.text
    with pytest.raises(UsageError, match=message):
        document.set(path, "x")
    assert document.text == before


def test_control_characters_cannot_be_set() -> None:
    with pytest.raises(UsageError, match="control characters"):
        parse("a: 1\n").set("a", "\x7f")


def test_other_values_keep_their_spelling() -> None:
    words = [
        "1__0",
        "1e999",
        "+.inf",
        "+4912",
        "-0",
        "0_",
        "0o17",
        "2024-13-45",
        "12:30:00",
        "~",
        "yes",
        "=",
    ]
    text = "".join(f"k{number}: {word}\n" for number, word in enumerate(words))
    document = parse(f"{text}empty:\n")
    document.set("new", "x")
    assert document.text == f"{text}empty:\nnew: x\n"


def test_a_change_that_would_touch_other_values_is_refused() -> None:
    document = parse("a: !!int abc\nb: 1\n")
    with pytest.raises(UsageError, match="b cannot be set without changing other values"):
        document.set("b", "2")
    assert document.text == "a: !!int abc\nb: 1\n"


def test_a_document_with_faults_cannot_be_changed() -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        parse("a: 1\na: 2\n").set("b", "x")


def test_an_anchor_that_is_used_anew_is_no_trouble() -> None:
    document = parse("a: &x 1\nb: &x 2\nc: *x\n")
    document.set("d", "new")
    assert read(document, "c") == "2"


def test_random_texts_are_read_or_refused_but_never_crash() -> None:
    choose = random.Random(3)
    pieces = [*"a[]{},'\"|>%#\\é\t\n\r", ": ", "  ", "- ", "&a ", "*a", "!t ", "? ", "<<: "]
    pieces += ["---\n", "...\n", "!<", "!!", "\\U99999999"]
    for _ in range(500):
        text = "".join(choose.choice(pieces) for _ in range(choose.randrange(1, 25)))
        with contextlib.suppress(ConfigError):
            Document(text, "f")


# removing


SECTIONS = """\
# the shop
application:
  name: shop  # its name

  # what runs
  app:
    web:
      command: serve
      healthcheck: {path: /up, retries: 3}
      # end of web

    # works at night
    worker:
      command: work
      servers:
      - one
      - two
  secrets:
    KEY: |
      # no comment

      end

  # the end
"""


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("application.name", ["  name: shop  # its name\n"]),
        (
            "application.app.web",
            [
                "    web:\n      command: serve\n",
                "      healthcheck: {path: /up, retries: 3}\n      # end of web\n",
            ],
        ),
        ("application.app.worker.servers", ["      servers:\n      - one\n      - two\n"]),
        ("application.secrets.KEY", ["    KEY: |\n      # no comment\n\n      end\n"]),
        ("application.app.web.healthcheck.retries", [", retries: 3"]),
    ],
)
def test_what_is_removed_takes_its_own_lines_and_no_others(path: str, gone: list[str]) -> None:
    document = Document(SECTIONS, "f")
    document.remove(path)
    expected = SECTIONS
    for text in gone:
        assert text in expected
        expected = expected.replace(text, "")
    assert document.text == expected
    assert document.find(path) is None


def test_what_is_not_there_cannot_be_removed() -> None:
    document = Document(SECTIONS, "f")
    with pytest.raises(UsageError, match=r"no key application\.app\.wep"):
        document.remove("application.app.wep")


def test_what_others_share_is_not_removed() -> None:
    text = "x-all: &all {A: one}\napplication:\n  env:\n    <<: *all\n    B: two\n"
    document = Document(text, "f")
    with pytest.raises(UsageError, match="credentials edit"):
        document.remove("application.env.A")
    assert document.text == text


def test_an_anchor_that_is_removed_leaves_its_value_where_it_is_used() -> None:
    text = "one: &a {A: b}\ntwo: *a\nthree: x\n"
    document = Document(text, "f")
    with contextlib.suppress(UsageError):
        document.remove("one")
    assert to_data(document.get("two")) == {"A": "b"}


def test_an_empty_section_can_be_set() -> None:
    document = Document("application:\n  compute_provider:\n    ssh:\n", "f")
    document.set("application.compute_provider.local", {})
    assert document.text == ("application:\n  compute_provider:\n    ssh:\n    local: {}\n")


COMMENTED = """\
application:
  app:
    web:
      port: 8000
      # command: serve

  # For every service.
  env:
    A: "1"

  # With this pair nvoi reaches servers.
  ssh_keys: {}
"""


def test_a_new_key_leaves_the_comment_of_the_next_section_where_it_is() -> None:
    document = parse(COMMENTED)
    for path, value in (("app.api.command", "node x"), ("env.B", "a\nb\n"), ("let_in", ["x"])):
        document.set(f"application.{path}", value)
    comment = "      # command: serve\n"
    changed = COMMENTED.replace(comment, f'{comment}    api:\n      command: "node x"\n')
    changed = changed.replace('A: "1"\n', 'A: "1"\n    B: |\n      a\n      b\n')
    assert document.text == f"{changed}  let_in: [x]\n"


@pytest.mark.parametrize("end", ["\r\n", ""])
def test_lines_end_as_they_did(end: str) -> None:
    document = parse(f"application:\r\n  name: a # shop\r\n  env:\r\n    A: b{end}")
    for path, value in (("env.B", "x\ny\n"), ("name", "c")):
        document.set(f"application.{path}", value)
    assert document.text == (
        "application:\r\n  name: c # shop\r\n  env:\r\n    A: b\r\n    B: |\r\n"
        "      x\r\n      y\r\n"
    )
    document.remove("application.env.A")
    assert "A: b" not in document.text
    assert document.text.count("\n") == document.text.count("\r\n")


def test_a_list_whose_hyphens_stand_alone_keeps_its_lines() -> None:
    text = "application:\n  let_in:\n  -\n    a\n  # the next\n  -   b\n"
    document = parse(text)
    document.set("application.name", "shop")
    assert document.text == f"{text}  name: shop\n"
