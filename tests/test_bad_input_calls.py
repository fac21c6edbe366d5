"""The calls that ``python -m benchmarks bad_input`` spoils: all that is public is among them, and each is right."""

import warnings

from benchmarks.bad_input import require_all_public
from benchmarks.public_calls import all_calls


def test_all_public_functions_are_called_and_right_calls_are_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of spectra that drop a scale, and of logarithms
        require_all_public(all_calls(tmp_path))
