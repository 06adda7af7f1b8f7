"""Arrays from files of data, and what is said of files that are none."""

import io
import pickle

import numpy as np
import pytest

from microgradx.interop.data import array_from, as_classes

NUMBERS = np.arange(6.0).reshape(3, 2)


@pytest.fixture
def file(tmp_path):
    """A function that writes a file, and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy(array, **options):
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def test_arrays_of_numpy(file):
    assert np.array_equal(array_from(file("x.npy", npy(NUMBERS))), NUMBERS)
    one = file("one.npz", npz(x=NUMBERS))
    assert np.array_equal(array_from(one), NUMBERS)
    two = file("two.npz", npz(x=NUMBERS, y=NUMBERS[:, 0]))
    assert np.array_equal(array_from(two, "y"), NUMBERS[:, 0])


def test_safetensors(file):
    numpy = pytest.importorskip("safetensors.numpy")
    path = file("x.safetensors", numpy.save({"X": NUMBERS, "y": NUMBERS[:, 0]}))
    assert np.array_equal(array_from(path, "X"), NUMBERS)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n0,1\n2,3\n4,5\n",
        "0,1\n2,3\n4,5",
        "\ufeffa;b\r\n0;1\r\n2;3\r\n4;5\r\n",
        "a\tb\n0\t1\n2\t3\n\n4\t5\n",
        '"a, with a comma","b"\n0, 1\n2,3\n4e0,5\n',
    ],
)
def test_tables(file, text):
    assert np.array_equal(array_from(file("t.csv", text)), NUMBERS)


def test_columns_of_a_table(file):
    path = file("t.csv", "a,b,kind\n0,1,cat\n2,3,dog\n4,5,cat\n")
    assert array_from(path, "b").tolist() == [1, 3, 5]
    assert array_from(path, "b,a").tolist() == [[1, 0], [3, 2], [5, 4]]
    assert np.array_equal(array_from(path, "", "kind"), NUMBERS)
    kinds = array_from(path, "kind")
    assert kinds.tolist() == ["cat", "dog", "cat"]
    numbers, classes = as_classes(kinds)
    assert numbers.tolist() == [0, 1, 0] and classes == ["cat", "dog"]
    assert as_classes(NUMBERS)[1] == []


OBJECTS = npy(np.array([{}, []], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "name, content, chosen, words",
    [
        ("x.npy", npy(NUMBERS)[:-9], "", "can't be read as .npy"),
        ("x.npy", b"", "", "can't be read as .npy"),
        ("x.npy", OBJECTS, "", "can't be read as .npy"),
        ("x.npy", pickle.dumps([1.0]), "", "can't be read as .npy"),
        ("x.npy", npy(NUMBERS), "y", "leave out :y"),
        (
            "x.npz",
            npz(x=NUMBERS, y=NUMBERS),
            "",
            "several arrays: put :name behind it; there are x",
        ),
        ("x.npz", npz(x=NUMBERS), "z", "no array z; there are x"),
        ("x.npz", npz(x=NUMBERS)[:100], "", "can't be loaded"),
        ("x.csv", "", "", "is empty"),
        ("x.csv", "a,b\n", "", "a header and no rows"),
        ("x.csv", "a,b\n1,2\n3\n", "", "row 1 of .* has 1 cell, and there are 2 columns"),
        ("x.csv", "a,b\n1,2\n3,cat\n", "", "'cat' in column b of row 1"),
        ("x.csv", "a,b\n1,2\n3,\n", "", "'' in column b of row 1"),
        ("x.csv", "a,b\n1,2\n3,nan\n", "", "'nan' in column b of row 1"),
        ("x.csv", "a,b\n1,2\n", "c", "no column c; there are a, b"),
        ("x.csv", b"\xff\xfe1\x002", "", "no text in UTF-8"),
        ("x.txt", "1 2", "", "data are read from .npy, .npz"),
        ("x", "1 2", "", "data are read from"),
    ],
)
def test_files_that_are_none(file, name, content, chosen, words):
    with pytest.raises(ValueError, match=words):
        array_from(file(name, content), chosen)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        array_from(tmp_path / "x.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no file"):
        array_from(tmp_path / "folder.npy")
