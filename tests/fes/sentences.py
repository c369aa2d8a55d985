"""What a user is told, in tests of the command line."""

import pytest

from fes.cli import main


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What stderr holds after a command of `fes` that cannot work: one line, and code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fes: ")
    return line
