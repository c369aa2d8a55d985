import pytest

from fes.errors import InputError
from shards.remote.addresses import address, checked_base, is_plain_name, is_remote, shown


@pytest.mark.parametrize(
    "place",
    ["https://host/set", "http://host", "s3://bucket/set", "hf://datasets/a/b", "file:/set", "pipe:x {}"],
)
def test_an_address_is_remote(place):
    assert is_remote(place)


@pytest.mark.parametrize(
    "place", ["data/fer", "/data/fer", "run:1", "C:/data", "a b://c", "", "https:", "files:x"]
)
def test_a_path_is_not_remote(place):
    assert not is_remote(place)


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        ("https://host/set", "https://host/set/a.tar"),
        ("https://host/set/", "https://host/set/a.tar"),
        ("https://host/set?sig=x/y", "https://host/set/a.tar?sig=x/y"),
        ("s3://bucket/what?", "s3://bucket/what?/a.tar"),
        ("file:/set", "file:/set/a.tar"),
        ("pipe:cat /set/{} | tee {}.copy", "pipe:cat /set/a.tar | tee a.tar.copy"),
    ],
)
def test_a_name_finds_its_place_in_an_address(base, whole):
    assert address(checked_base(base), "a.tar") == whole


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../a.tar",
            "a/b.tar",
            "/etc/passwd",
            "a..tar",
            ".hidden",
            "-rf",
            "https://host/a.tar",
        ),
        *(
            "a;rm",
            "$(id)",
            "`id`",
            "a b",
            "a|b",
            "a&b",
            "a>b",
            "a\nb",
            "a\\b",
            "a'b",
            "a{}b",
            "a%2fb",
            "é.tar",
        ),
        *("a" * 256, None, 3),
    ],
)
def test_a_name_that_could_lead_elsewhere_or_be_run_is_refused_in_one_sentence(name):
    assert not is_plain_name(name)
    with pytest.raises(InputError, match="plain names are followed") as caught:
        address("pipe:cat {}", name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("base", ["http:///set", "https://", "http://[1", "data/set", "1://x"])
def test_an_address_that_cannot_be_is_refused(base):
    with pytest.raises(InputError, match="is not an address"):
        checked_base(base)


def test_a_command_has_to_say_where_the_name_goes():
    with pytest.raises(InputError, match=r"write {} where the file's name goes"):
        checked_base("pipe:cat set/index.json")


def test_a_scheme_may_be_written_large():
    assert checked_base("HTTPS://Host/Set") == "https://Host/Set"


def test_messages_show_neither_passwords_nor_signatures():
    assert shown("https://me:secret@host/set/a.tar?sig=secret") == "https://host/set/a.tar"
    assert shown("https://me:secret@host/set?sig=secret", "a.tar") == "https://host/set/a.tar"
    assert shown("https://me@corp.com:sec@ret@host/set", "a.tar") == "https://host/set/a.tar"
    assert shown("https://host/@me/set") == "https://host/@me/set"


def test_of_a_command_the_program_alone_is_shown():
    assert shown("pipe:curl -H 'token: secret' https://host/{}") == "pipe:curl ..."
    assert shown("pipe:curl -H 'token: secret' https://host/{}", "a.tar") == "'a.tar' by pipe:curl ..."
    assert shown("pipe: ssh host cat {}") == "pipe:ssh ..."
    for command in ("TOKEN=secret curl {}", "TOKEN='secret curl {}'", "", "$(cat secret){}"):
        assert shown(f"pipe:{command}") == "pipe:..."
