"""One variable in a file of variables: what its readers find, and what they would take differently."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyturn.stores.dotenv_lines import AmbiguousError
from keyturn.stores.dotenv_text import demand_plain, value_of, with_value
from tests.stores.dotenv_readers import QUICK, compose, docker_run, shell, systemd

SHELLS = [name for name in ("sh", "bash") if shutil.which(name)]

# What every reader takes alike, but for the two that the module names: `docker run` keeps quotes, and knows no `export`.
ALIKE = {
    "A=x": "x",
    "A=x\n": "x",
    "  A=x\nB=1\n": "x",
    "export A=x\n": "x",
    "\texport\tA=x": "x",
    "A='x y'\n": "x y",
    'A="x y"\n': "x y",
    "A='say \"x\" `y` # z'\n": 'say "x" `y` # z',
    "A=ab+/_-.:=@%,9\n": "ab+/_-.:=@%,9",
    "#A=1\nAA=2\nA_=3\nA=x\n": "x",
    "  # it's A=1\nA=x\n": "x",
    "B=1\r\nC='x'\r\n\r\nA=x\n": "x",
    "B='one\ntwo\n'\nA=yes\n": "yes",
    'B="a\\"\nb"\nA=x\n': "x",
    "B='it\\n' # it's\nA=x\n": "x",
    "B=${A}\nC=$A\nA=x\nD=${A:-y}\n": "x",
    "A=x\nB=it's\n": "x",
    "B\nA=x\n": "x",
    "B=A=\nA=x\n": "x",
    "A=x\nB=A+=y\nC=unset,A=\n": "x",
    "A=": "",
    "A=''\n": "",
}


@pytest.mark.parametrize(("text", "value"), ALIKE.items())
def test_the_value_is_what_all_readers_take(text: str, value: str, tmp_path: Path) -> None:
    assert value_of(text, "A") == value
    for name, read in QUICK.items():
        quoted, exported = "A='" in text or 'A="' in text, "export" in text
        wanted = None if exported and name != "python-dotenv" else value
        found = read(text).get("A")
        assert (found or "").strip("'\"") == value if name == "docker run" and quoted else found == wanted, name
    for program in SHELLS:
        assert shell(text, tmp_path, program)["A"] == value


def test_what_another_variable_is_set_to_says_nothing_of_ours(tmp_path: Path) -> None:
    text = "A=x\nexport B=A\n\texport\tC=A=1\n"
    assert value_of(text, "A") == QUICK["python-dotenv"](text)["A"] == QUICK["systemd"](text)["A"] == "x"
    assert all(shell(text, tmp_path, program)["A"] == "x" for program in SHELLS)
    [read] = compose([text], tmp_path)
    assert read["A"] == "x"


def test_compose_takes_the_same(tmp_path: Path) -> None:
    texts = [text for text in ALIKE if "it's\n" not in text]  # it reads nothing of a file with such a line
    assert [read["A"] for read in compose(texts, tmp_path)] == [ALIKE[text] for text in texts]


@pytest.mark.parametrize("text", ["", "\n", "AA=1\n", "# A=1", "B='\n# A=2\n'\n", "B=$A\n", "B=${A:=x}\n", "B=1 # A\n"])
def test_what_is_not_set_is_not_set_to_anybody(text: str, tmp_path: Path) -> None:
    assert value_of(text, "A") is None
    assert with_value(text, "A", "new").endswith("A=new\n")
    assert all(read(text).get("A") is None for read in QUICK.values())
    assert ":=" in text or "A" not in shell(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\ufeffA=x\n", "byte order mark"),  # to systemd and a shell another name
        ("B=1\0\nA=x\n", "NUL"),  # systemd reads nothing, a shell leaves it out
        ("B=1\rA=x\n", "line 1 has a carriage return"),  # a line's end to python-dotenv and systemd
        ("A=x\r\nB=1\r\n", "its line ends in a carriage return"),  # to a shell a part of the key
        ("A='x'\r\n", "its line ends in a carriage return"),
        ("A =x\n", "more than a plain value"),  # to a shell a program, which would be given the key
        ("A= x\n", "more than a plain value"),
        ("A=x \n", "more than a plain value"),  # to `docker run` a part of the key
        ("A=x # why\n", "more than a plain value"),  # to systemd and `docker run` a part of the key
        ("A='x' # why\n", "more than a plain value"),
        ('A="x"#b\n', "more than a plain value"),
        ("A=x#y\n", "more than a plain value"),
        ("A=a b\n", "more than a plain value"),
        ("A='a'b\n", "more than a plain value"),
        ("A='a' 'b'\n", "more than a plain value"),
        ("A='open\n", "more than a plain value"),
        ("A='a\nb'\n", "more than a plain value"),
        ('A="a$b"\n', "more than a plain value"),
        ("A='${B}'\n", "more than a plain value"),  # python-dotenv replaces it in single quotes, too
        ("A='a\\\\b'\n", "more than a plain value"),  # to python-dotenv one backslash
        ("A='it\\'s'\n", "more than a plain value"),
        ("A=a`b`\n", "more than a plain value"),
        ("A=a;b\n", "more than a plain value"),
        ("A=a&b\n", "more than a plain value"),
        ("A=~root\n", "more than a plain value"),
        ("A=ü\n", "more than a plain value"),
        ("A\n", "more than a plain value"),
        ("A: x\n", "more than a plain value"),  # Compose reads it
        ("'A'=x\n", "more than a plain value"),  # python-dotenv reads it
        ("B=1;A=x\n", "more than a plain value"),
        ("\x0bA=x\n", "more than a plain value"),
        ("A=1\nA=2\n", "2 lines"),  # `docker run` hands over both
        ("A=1\nexport A=2\n", "2 lines"),  # the first one to systemd
        ("A=x\nA\n", "2 lines"),  # none to python-dotenv
        ("A=x\nA:y\n", "2 lines"),
        ("A=x\nA+=y\n", "2 lines"),
        ("A=x\nunset B A\n", "2 lines"),
        ("A=x\nB=1 A=y\n", "2 lines"),
        ("A=x\nB='1'A=y\n", "2 lines"),
        ("A=x\n;A=y\n", "2 lines"),
        ("A=x\nB='A='\n", "2 lines"),
        ("A=x\nB='\nC='A=1\n", "2 lines"),  # Compose reads on behind a quote
        ("A=x\nB=A= \n", "2 lines"),
        ("A=x\nB=A=1\r\n", "2 lines"),
        ("A=x\nB: A=1\n", "2 lines"),
        ("A=x\nB =A=1\n", "2 lines"),
        ("A=x\nB=1,;A=2\n", "2 lines"),
        ("A=x\nunset B=A\n", "2 lines"),
        ("A=x\n((\nB=A=3\n))\n", "2 lines"),  # bash sets both
        ("A=x\ndeclare -i B\nB=A=3\n", "2 lines"),  # and here
        ("B='\nA=no\n'\nA=yes\n", "2 lines"),  # `docker run` hands over both
        ("B='\nA=no\n'\n", "inside another value"),
        ('B="a\\"\nA=no\n"\n', "inside another value"),
        ("B='\nA=no' C='\n'\n", "line 1 is no"),
        ("B='open\nA=yes\n", "line 1 is no"),
        ("\nB=it's\nA=yes\n", "line 2 is no"),
        ("B=a'\nA=yes\nC='\n", "line 1 is no"),
        ("B='a\\'\nA=yes\n", "line 1 is no"),
        ('B="a\\\\"\nA=yes\n', "line 1 is no"),  # Compose reads on
        ("B=$(echo\nA=yes\n)\n", "line 1 is no"),
        ("B=(\nA=yes\n)\n", "line 1 is no"),
        ('B="$(echo "\nA=yes\n")"\n', "line 1 is no"),
        ("if false\nthen\nA=yes\nfi\n", "line 1 is no"),
        ("cat <<E\nA=yes\nE\n", "line 1 is no"),
        ("B=x\\\nA=yes\n", "line 1 is no"),
        ("# c\\\nA=yes\n", "line 1 ends in a backslash"),  # systemd before 254 takes the next line for a comment, too
        ("B=1 # c\\\r\nA=yes\n", "line 1 ends in a backslash"),
    ],
)
def test_what_readers_take_differently_is_refused(text: str, told: str) -> None:
    with pytest.raises(AmbiguousError, match=told) as caught:
        value_of(text, "A")
    assert caught.value.remedy
    with pytest.raises(AmbiguousError, match=told):
        with_value(text, "A", "new")


@pytest.mark.parametrize("text", ["B='open\n", "B=it's", "# c\\", "B=x\\\n", "if true\n", "\ufeffB=1\n"])
def test_nothing_is_put_behind_what_is_open(text: str) -> None:
    with pytest.raises(AmbiguousError):
        value_of(text, "A")
    with pytest.raises(AmbiguousError):
        with_value(text, "A", "new")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("A=x", "A=new"),
        ("A='x'\nB=1\r\n", "A='new'\nB=1\r\n"),
        ('export A="x"\n', 'export A="new"\n'),
        ("B=1", "B=1\nA=new\n"),
        ("B=1\r\n", "B=1\r\nA=new\n"),
        ("", "A=new\n"),
        ("B='\nC=no\n'\n", "B='\nC=no\n'\nA=new\n"),
        ("# ü\nB=\udcff\nA=x\n", "# ü\nB=\udcff\nA=new\n"),
    ],
)
def test_nothing_else_is_changed(text: str, after: str) -> None:
    assert with_value(text, "A", "new") == after


@pytest.mark.parametrize(
    "value", ["", "two words", "#no", "a;b", "`id`", 'say "x"', "it's", "ü", "*", "~", "a\\b", "$a", "a\nb"]
)
def test_a_value_that_would_need_quotes_is_refused(value: str) -> None:
    """`docker run` takes quotes for a part of the key."""
    with pytest.raises(AmbiguousError):
        demand_plain(value)
    with pytest.raises(AmbiguousError):
        with_value("A='x'\n", "A", value)


# Files as anybody may have written them ----------------------------------------------------------------------------------

_PIECES = [
    *(
        "A=",
        "A",
        "B=",
        "AA=",
        "=",
        "'",
        '"',
        "\\",
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "#",
        " # ",
        "export ",
        "$",
        "$(",
        ")",
    ),
    *(
        "${A}",
        "${",
        "}",
        "x",
        "y z",
        "\ufeff",
        "é",
        "`",
        "<<E\n",
        "E\n",
        ";",
        "&",
        "(",
        "it's",
        "unset A",
        ":",
        "+=",
        "\x0b",
    ),
    *(
        "\nA='q'\n",
        '\nA="q"\n',
        "\nA=x\n",
        "\nA=x\n",
        "\nexport A=x\n",
        "B='",
        'C="',
        "'\n",
        '"\n',
        "# c\n",
        "B=1\n",
        "C='x'\n",
    ),
]
TEXTS = st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)
VALUES = st.from_regex(r"[A-Za-z0-9_./:=+@%,-]{1,20}", fullmatch=True)


def written(text: str, value: str) -> str | None:
    try:
        return with_value(text, "A", value)
    except AmbiguousError:
        return None


@settings(max_examples=600, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, value=VALUES)
def test_nobody_finds_another_value_than_the_one_that_was_written(text: str, value: str) -> None:
    after = written(text, value)
    if after is None:
        return
    found = {name: read(after).get("A") for name, read in QUICK.items()}
    assert found["python-dotenv"] == value
    assert (found["docker run"] or value) in (value, f"'{value}'", f'"{value}"')
    assert found["systemd"] == value or (found["systemd"] is None and "export" in after)


@settings(max_examples=100, suppress_health_check=list(HealthCheck), deadline=None)
@given(text=TEXTS, value=VALUES)
def test_a_shell_finds_what_was_written(text: str, value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With nothing behind it that it would run."""
    after = written(text.partition("\nA=")[0], value)
    if after is not None:
        found = shell(after, tmp_path_factory.getbasetemp())
        assert found.get("A", value) == value
        assert "A" in found or not after.replace("A=", "").isprintable()


def test_readers_are_as_they_are_known() -> None:
    """Else the tests above would look at something that is not there."""
    assert systemd("A=x # c\n")["A"] == "x # c"
    assert systemd("# c\\\nA=x\n") == {}
    assert docker_run("A='x'\n")["A"] == "'x'"
