"""What a pickle can do to its reader: hand it arrays, and nothing else."""

import copyreg
import os
import pickle
import pickletools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttp.study.data.pickles import OPERATIONS, read_arrays

ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY_TYPE = b"cnumpy\nndarray\n"
NUMBER_TYPE = b"cnumpy\ndtype\n"
BYTES = b"c_codecs\nencode\n"
AN_ARRAY = ARRAY + ARRAY_TYPE + b"K\0\x85C\x01b\x87R"
A_NUMBER_TYPE = NUMBER_TYPE + b"X\x02\0\0\0u1\x89\x88\x87R"
TEXT = b"X\x05\0\0\0array"
COMMAND = b"cposix\nsystem\n"


def program(value):
    """A dictionary of one field whose value is made by some operations."""
    return b"\x80\x04}X\x04\0\0\0data" + value + b"s."


REFUSED = {
    "attributes of a word": ARRAY + b"}X\x0c\0\0\0__setstate__K\1sb",
    "slots of a word": ARRAY + b"N}X\x04\0\0\0nameK\1s\x86b",
    "attributes of a class": ARRAY_TYPE + b"}X\x05\0\0\0arrayK\1sb",
    "slots of a number type": A_NUMBER_TYPE + b"N}X\x05\0\0\0dtypeK\1s\x86b",
    "slots of an array": AN_ARRAY + b"N}X\x05\0\0\0arrayK\1s\x86b",
    "attributes of an array": AN_ARRAY + b"}X\x05\0\0\0arrayK\1sb",
    "state of a list": b"](K\1K\1tb",
    "an array of another type": AN_ARRAY + b"(K\1K\1\x85K\1\x89C\1atb",
    "an array of numbers": AN_ARRAY + b"(K\1K\1\x85" + A_NUMBER_TYPE + b"\x89K\1tb",
    "an array that is too large": AN_ARRAY + b"(K\1J\xff\xff\xff\x7f\x85" + A_NUMBER_TYPE + b"\x89C\1atb",
    "an array of arrays": AN_ARRAY + b"(K\1" + b")" + b"\x85" * 50_000 + A_NUMBER_TYPE + b"\x89C\1atb",
    "a path of attributes": b"cnumpy\nndarray.dumps\n",
    "a path of attributes on the stack": b"\x8c\x05numpy\x8c\x0dndarray.dumps\x93",
    "another name": COMMAND,
    "another name on the stack": b"\x8c\x05posix\x8c\x06system\x93",
    "a name that is no text": b"K\1K\1\x93",
    "a call of an array": AN_ARRAY + b")R",
    "a call of a number type": A_NUMBER_TYPE + b")R",
    "a call of a class": ARRAY_TYPE + b")R",
    "a call with a list": ARRAY + b"]R",
    "a call of text": TEXT + b")R",
    "a number type of objects": NUMBER_TYPE + b"X\1\0\0\0O\x85R",
    "a number type of fields": NUMBER_TYPE + b"X\5\0\0\0u1,u1\x85R",
    "a number type that is nested": NUMBER_TYPE + b"X\x10\x27\0\0" + b"(" * 10_000 + b"\x85R",
    "another encoding": BYTES + TEXT + b"X\3\0\0\0hex\x86R",
    "text that is no latin1": BYTES + b"X\3\0\0\0\xe2\x82\xacX\6\0\0\0latin1\x86R",
    "an instance": b"(iposix\nsystem\n",
    "an object": b"(" + COMMAND + b"o",
    "a new object": ARRAY_TYPE + b")\x81",
    "a new object with names": ARRAY_TYPE + b")}\x92",
    "a persistent name": b"Pname\n",
    "a persistent object": TEXT + b"Q",
    "a value taken away": b"NN0",
    "a value that is doubled": b"N2",
    "a buffer": b"\x97",
    "a buffer to read": TEXT + b"\x98",
    "bytes that can be changed": b"\x96\1\0\0\0\0\0\0\0a",
    "a set": b"\x8f(K\1\x90",
    "a frozen set": b"(K\1\x91",
    "many bytes": b"\x8e" + b"\xff" * 7 + b"\x0f",
    "much text": b"\x8d" + b"\xff" * 7 + b"\x0f",
    "a long integer": b"\x8b\xff\xff\xff\x7f",
    "many digits": b"L" + b"9" * 100_000 + b"L\n",
    "an unknown number in the memory": b"h\7",
    "a mark for a value": b"(",
    "a mark in the memory": b"(q\0",
    "a list of a mark": b"](a",
    "a mark too few": b"e",
    "a field of a list": b"]K\1K\1s",
    "an item of a dictionary": b"}K\1a",
    "a dictionary of three": b"(K\1K\1K\1d",
    "a number for a key": b"}K\1K\1s",
    "a nested key": b"})" + b"\x85" * 200_000 + b"K\1s",
    "an unknown operation": b"\xff",
    "no end": b"(" * 100,
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_no_array_needs_is_refused(name):
    with pytest.raises(ValueError, match=r"file\.pkl is refused: .*; fetch the published archive again"):
        read_arrays(program(REFUSED[name]), "file.pkl")


@pytest.mark.parametrize("operation", [b"\x82\xf0", b"\x83\xf0\0", b"\x84\xf0\0\0\0"])
def test_extensions_are_refused_even_where_a_program_has_them(operation, request):
    copyreg.add_extension("os", "getpid", 0xF0)
    request.addfinalizer(lambda: copyreg.remove_extension("os", "getpid", 0xF0))
    assert pickle.loads(program(operation + b")R"))["data"] == os.getpid()  # which the module has now kept
    with pytest.raises(ValueError, match=r"it has the operation EXT\d, which no array needs"):
        read_arrays(program(operation + b")R"), "file.pkl")


def test_a_far_place_in_the_memory_takes_no_room():
    tracemalloc.start()
    try:
        assert read_arrays(program(b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff\x86"), "file.pkl") == {"data": (None, None)}
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_same_text_cannot_be_turned_into_bytes_again_and_again():
    text = BYTES + b"q\0X" + (10_000).to_bytes(4, "little") + b"a" * 10_000 + b"q\1X\6\0\0\0latin1q\2\x86R"
    once = program(b"](" + text + b"e")
    assert read_arrays(once, "file.pkl")["data"] == [b"a" * 10_000]
    with pytest.raises(ValueError, match="again and again"):
        read_arrays(program(b"](" + text + b"h\0h\1h\2\x86R" * 1_000 + b"e"), "file.pkl")


def test_deeply_nested_values_do_no_harm():
    depth = 200_000
    for value in (b"]" * depth + b"a" * (depth - 1), b")" + b"\x85" * depth, b"}U\1a" * depth + b"N" + b"s" * depth):
        assert set(read_arrays(program(value), "file.pkl")) == {"data"}


@given(st.data())
def test_any_other_program_is_read_or_refused(data):
    codes = [operation.code.encode("latin1") for operation in pickletools.opcodes if operation.name in OPERATIONS]
    parts = st.one_of(st.sampled_from(codes), st.sampled_from([AN_ARRAY, A_NUMBER_TYPE, TEXT]), st.binary(max_size=4))
    content = b"\x80\x04}" + b"".join(data.draw(st.lists(parts, max_size=20))) + b"."
    try:
        assert isinstance(read_arrays(content, "file.pkl"), dict)
    except ValueError as error:
        assert "file.pkl" in str(error)  # noqa: PT017 whether it raises is not known


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_byte_that_is_changed_is_refused_or_makes_other_values(position, byte):
    fields = {b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}
    content = bytearray(pickle.dumps(fields, protocol=2))
    content[position % len(content)] = byte
    try:
        assert all(isinstance(name, str) for name in read_arrays(bytes(content), "file.pkl"))
    except ValueError as error:
        assert "file.pkl" in str(error)  # noqa: PT017 whether it raises is not known
