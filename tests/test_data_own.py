"""Data sets of a user's own: torch data sets, arrays, .npz and CSV files."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sttp.study.data import batch_indices, own_data


class Squares(Dataset):
    """Numbers with their squares or parities, a little moved by a transformation that draws."""

    def __init__(self, count, target=lambda number: number**2):
        self.count, self.target = count, target

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((2, 3), float(index)) + torch.rand(2, 3) / 4, self.target(index)


class Endless(IterableDataset):
    def __iter__(self):
        yield from ()


GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(50, 4))
LABELS = np.arange(50) % 5


def splits(data):
    return data.training, data.validation, data.test


def test_a_torch_data_set_is_read_the_same_each_time_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = own_data(Squares(50), Squares(6), Squares(4))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = own_data(Squares(50), Squares(6), Squares(4))
    assert first.checksum == second.checksum
    assert [len(part.inputs) for part in splits(first)] == [50, 6, 4]
    assert torch.equal(first.training.inputs.floor(), torch.arange(50.0)[:, None, None].expand(50, 2, 3))
    parities = own_data(Squares(50, lambda number: number % 2))
    assert parities.classes == 2
    halves = own_data(Squares(50, lambda number: number / 2))
    assert halves.classes is None
    assert halves.training.targets.shape[1:] == (1,)
    words = own_data(Squares(50, lambda number: "even" if number % 2 == 0 else "odd"))
    assert words.class_names == ("even", "odd")
    assert torch.equal(words.training.targets, parities.training.targets)


def test_arrays_tensors_lists_and_files_of_them_are_one_data_set(tmp_path):
    np.savez(tmp_path / "mine.npz", inputs=INPUTS, targets=LABELS)
    tensors = torch.from_numpy(INPUTS), torch.from_numpy(LABELS)
    alike = [
        (INPUTS, LABELS),
        (INPUTS.astype(">f8"), LABELS.astype(np.uint8)),
        tensors,
        TensorDataset(*tensors),
        list(zip(INPUTS, LABELS, strict=True)),
        tmp_path / "mine.npz",
    ]
    found = [own_data(each, each) for each in alike]
    assert len({data.checksum for data in found}) == 1
    assert found[0].classes == 5
    assert found[0].validation.inputs.dtype == torch.get_default_dtype()
    assert torch.equal(found[0].validation.inputs, tensors[0].float())
    assert torch.equal(found[0].validation.targets, tensors[1])
    assert own_data((INPUTS + 1, LABELS), (INPUTS, LABELS)).checksum != found[0].checksum
    # Indices stay integers, as an embedding takes them; of numbers none is a class.
    assert own_data((LABELS[:, None], INPUTS)).training.inputs.dtype == torch.int64
    assert own_data((INPUTS, INPUTS)).training.targets.shape[1:] == (4,)


def test_what_is_not_given_is_held_out_of_each_class():
    data = own_data((INPUTS, LABELS))
    assert [len(part.inputs) for part in splits(data)] == [35, 5, 10]
    for part, count in zip(splits(data), (7, 1, 2), strict=True):
        assert part.targets.bincount().tolist() == [count] * 5
    everything = torch.cat([part.inputs for part in splits(data)])
    assert sorted(everything.tolist()) == sorted(torch.from_numpy(INPUTS).float().tolist())
    given = own_data((INPUTS, LABELS), test=(INPUTS[:7], LABELS[:7]))
    assert [len(part.inputs) for part in splits(given)] == [45, 5, 7]


def write_table(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def test_a_table_has_its_targets_in_a_column_by_name_or_the_last(tmp_path):
    rows = [(row, row / 2, "cat" if row % 3 else "dog", row % 2 * 10 + 7) for row in range(20)]
    last = write_table(tmp_path / "last.CSV", "size,weight,class", *(f"{a}, {b},{d}" for a, b, _, d in rows))
    named = write_table(tmp_path / "named.csv", "class,size,weight", *(f'"{c}",{a},{b}' for a, b, c, _ in rows))
    data = own_data(last, last)
    assert data.class_names == ("7", "17")
    assert data.validation.targets.tolist() == [0, 1] * 10
    words = own_data(named, named, target="class")
    assert words.class_names == ("cat", "dog")
    assert torch.equal(words.validation.inputs, data.validation.inputs)
    assert words.validation.inputs[3].tolist() == [3, 1.5]
    numbers = own_data(last, last, target="weight")
    assert numbers.classes is None
    assert numbers.validation.targets.flatten().tolist() == [row / 2 for row in range(20)]
    whole = write_table(tmp_path / "whole.csv", "size,class,weight", "1,2,3", "2,3,4")  # whole numbers by chance
    assert own_data(last, whole, target="weight").validation.targets.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a,b", "1,2", "x,3", ",4", "5,6"], r"column a has no finite number in lines 3, 4, such as 'x'"),
        (["a,b", "nan,2", "1,3"], "column a has no finite number in line 2"),
        (["a,b", "1e999,2", "1,3"], "column a has no finite number in line 2"),
        (["a,b", "1,2.5", "1,NaN"], "column b has no finite number in line 3"),
        (["a,b", "1,2.5", "1,cat"], "column b has no finite number in line 3, such as 'cat'"),
        (["a,b", "1,cat", "", "1,"], "column b has no target in line 4"),
        (["a,b", *["x,1"] * 9], "lines 2, 3, 4, 5, 6 and 4 more"),
        (["a,b", "1,2", "1,2,3"], "must have 2 columns, got another number in line 3"),
        (["a,b"], "is empty"),
        (["a;b", "1;2"], "two columns at least"),
        (["a,a", "1,2"], "two columns at least"),
        (["1,2", "3,4"], "names of two columns"),
        (["a,\x1b[2J", "1,x", "2,1.5"], r"column \\x1b\[2J has no"),
    ],
)
def test_tables_that_are_none_are_refused_by_line_and_column(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words) as caught:
        own_data(write_table(tmp_path / "mine.csv", *lines))
    assert "train: " in str(caught.value)
    with pytest.raises(ValueError, match=r"target='z' is no column of .*choose from a, b"):
        own_data(write_table(tmp_path / "mine.csv", "a,b", "1,2"), target="z")


def test_data_that_does_not_fit_is_refused_by_name(tmp_path):
    def refused(words, *given, kind=ValueError, **named):
        with pytest.raises(kind, match=words):
            own_data(*given, **named)

    good, nan = (INPUTS, LABELS), INPUTS.copy()
    nan[17, 2] = np.nan
    refused("train must have a length, got a Endless", Endless(), kind=TypeError)
    refused("test must be a torch data set or a list", good, test=3, kind=TypeError)
    refused("train must have as many inputs as targets, .*got 50 and 49", (INPUTS, LABELS[1:]))
    refused("train must have as many inputs .*got 0 and 0", (INPUTS[:0], LABELS[:0]))
    refused("train is empty", [])
    refused("validation: inputs must be finite, .*example 17", good, (nan, LABELS))
    refused("train: inputs must be finite, .*example 0", (INPUTS * 1e300, LABELS))
    refused("train: targets must be finite", (INPUTS, nan))
    refused("train: inputs must be numbers, got an array of object", (np.array([{}, {}]), LABELS[:2]))
    refused("train: inputs are of torch.uint8", (LABELS[:, None].astype(np.uint8), LABELS))
    refused("must be real numbers", (3.0, LABELS))
    refused(r"test must have the inputs of train, .*\(4,\) each, got .*\(3,\)", good, test=(INPUTS[:, :3], LABELS))
    refused("test must have the targets of train, .*int64.*float32", good, test=(INPUTS, LABELS / 2))
    refused("validation has the class -1; count classes from 0", good, (INPUTS, LABELS - 1))
    refused("test has the target 'eel', which no", (INPUTS[:2], ["a", "b"]), test=(INPUTS[:1], ["eel"]))
    refused("test must be given where train has no two examples of a class", (INPUTS[:2], LABELS[:2]))
    refused(r"train\[3\] must be a pair", [*zip(INPUTS[:3], LABELS[:3], strict=True), 1])
    refused(r"train\[2\] cannot be read \(ZeroDivisionError", Squares(5, lambda number: 1 / (number - 2)))
    refused(r"inputs of train must have one shape, got \(2,\) at 0 and \(3,\) at 1", [([1, 2], 0), ([1, 2, 3], 1)])
    refused("train='nowhere.csv' is no file", "nowhere.csv")
    refused("target='a' names a column of a CSV file, and train is none", good, target="a")
    np.savez(tmp_path / "other.npz", x=INPUTS)
    refused("other.npz must be an .npz file of two arrays", tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", inputs=np.array([print, 1]), targets=LABELS[:2])
    refused("objects.npz must be an .npz .*allow_pickle=False", tmp_path / "objects.npz")


def test_batches_of_own_data_are_those_of_images():
    found = batch_indices(10, 3, seed=5, start=2)
    whole = batch_indices(10, 3, seed=5)
    first = [next(whole) for _ in range(6)]
    assert torch.cat(first[:3]).unique().numel() == 9
    assert all(torch.equal(next(found), later) for later in first[2:])
    with pytest.raises(ValueError, match="batch_size must be at most 10"):
        batch_indices(10, 11, seed=0)
