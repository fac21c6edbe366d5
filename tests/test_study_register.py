"""Registers of named things: what they take, what they refuse, and how they go to other processes."""

import functools

import pytest
from toy_kind import STEPS

from sttp.study import OPTIMIZERS
from sttp.study import register as register_module
from sttp.study.register import (
    COLOURS,
    Appearance,
    Register,
    callable_thing,
    default_look,
    foreign_entries,
)


@pytest.fixture
def things(monkeypatch):
    """A register of callables that is forgotten after the test."""
    monkeypatch.setattr(register_module, "_REGISTERS", list(register_module._REGISTERS))
    return Register("test thing", callable_thing)


def foreign_names(register):
    return [entry.name for found, entry in foreign_entries() if found is register]


def half(value):
    return value / 2


class Outer:
    class Inner:
        @staticmethod
        def method():
            return 3


def test_a_thing_is_found_by_its_name_with_its_title_and_look(things):
    look = Appearance("#123456", "o", ":")
    assert things.add("half", half, title="A half", look=look) is half
    assert things["half"] is half
    assert things.entry("half").name == "half"
    assert (things.title("half"), things.entry("half").look) == ("A half", look)
    assert "half" in things
    assert list(things) == ["half"]
    things.add("half", abs)  # in its place
    assert things["half"] is abs
    assert (things.title("half"), things.entry("half").look) == ("half", None)


def test_a_decorator_registers_and_gives_the_thing_back(things):
    @things.add("twice", title="Twice")
    def twice(value):
        return 2 * value

    assert things["twice"] is twice
    assert things.title("twice") == "Twice"


@pytest.mark.parametrize(
    ("name", "thing", "error", "message"),
    [
        (3, half, TypeError, "name of a test thing must be a string, got 3"),
        ("", half, ValueError, "name of a test thing must be a word"),
        (" \t", half, ValueError, "must be a word"),
        ("a:b", half, ValueError, "must be a word without a colon, got 'a:b'"),
        ("three", 3, TypeError, "test thing 'three': it must be callable, got 3"),
    ],
)
def test_what_is_no_name_or_no_such_thing_is_refused(things, name, thing, error, message):
    with pytest.raises(error, match=message):
        things.add(name, thing)
    assert list(things) == []


def test_an_unknown_name_is_refused_with_the_nearest_one(things):
    things.add("stiefel", half)
    with pytest.raises(ValueError, match="test thing has no choice 'steifel'; did you mean 'stiefel'"):
        things["steifel"]
    with pytest.raises(ValueError, match="geometry of mine has no choice 'x'"):
        things.entry("x", "geometry of mine")
    with pytest.raises(TypeError, match="test thing must be a string, got 3"):
        things[3]


def test_a_module_s_object_is_imported_by_its_name(things):
    assert things["math:sqrt"](4.0) == 2.0
    assert things[f"{__name__}:Outer.Inner.method"]() == 3
    assert "math:sqrt" not in things
    assert things.title("math:sqrt") == "sqrt"
    assert foreign_names(things) == ["math:sqrt", f"{__name__}:Outer.Inner.method"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "nowhere.at.all:thing",
            ValueError,
            r"'nowhere.at.all' cannot be imported \(ModuleNotFoundError: No",
        ),
        ("math:sqroot", ValueError, "'math' has no 'sqroot'"),
        ("math:", ValueError, "test thing 'math:'"),
        (":sqrt", ValueError, "test thing ':sqrt'"),
        ("math:pi", TypeError, "test thing 'math:pi': it must be callable, got 3.14"),
        ("broken_module:thing", ValueError, "RuntimeError: this module is broken"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_its_own_error(things, name, error, message, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('this module is broken')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(error, match=message):
        things[name]


def test_a_thing_has_one_name_by_which_others_find_it(things):
    assert things.name_for("any words") == "any words"
    assert things.name_for(half) == f"{__name__}:half"
    assert things[f"{__name__}:half"] is half
    things.add("mine", half)
    assert things.name_for(half) == "mine"
    own = functools.partial(half, 3)
    name = things.name_for(own)
    assert things[name] is own
    assert things.name_for(own) == name
    with pytest.raises(TypeError, match="it must be callable"):
        things.name_for(3.5)


def test_what_others_register_travels_and_what_is_ours_does_not(things, monkeypatch):
    things.add("by a call", half)

    @things.add("by a decorator")
    def decorated():
        return 1

    name = things.name_for(functools.partial(half, 2))
    assert foreign_names(things) == ["by a call", "by a decorator", name]
    assert "plain" in foreign_names(STEPS)  # of a module beside the package
    assert not {"riemannian-adam", "sgd"} & set(foreign_names(OPTIMIZERS))
    sent = things.entry("by a call")
    monkeypatch.setattr(things, "_entries", {})
    things.adopt(sent)
    assert things["by a call"] is half
    assert foreign_names(things) == ["by a call"]


def test_looks_by_position_differ_for_long():
    looks = [default_look(position) for position in range(4 * len(COLOURS))]
    assert len(set(looks)) == len(looks)
    for start in range(len(looks) - 4):
        assert len({look.color for look in looks[start : start + 5]}) == 5
