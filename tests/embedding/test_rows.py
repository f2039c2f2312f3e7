"""How vectors become rows of a file."""

import json

import numpy as np
import pyarrow as pa
import pytest

from plantgfm.embedding.config import Storage
from plantgfm.embedding.rows import STORED, as_float32, as_stored, check_columns, origin_of, schema_of, storage_of


def test_int8_keeps_the_greatest_number_and_rounds_the_others_to_its_127th():
    vectors = np.array([[1.27, -0.004, 0.016, 0.0], [0, 0, 0, 0], [-254, 2.9, 3.1, 254]], np.float32)
    stored, scale = as_stored(vectors, Storage.INT8)
    assert stored.tolist() == [[127, 0, 2, 0], [0, 0, 0, 0], [-127, 1, 2, 127]] and stored.dtype == np.int8
    np.testing.assert_allclose(scale, [0.01, 0, 2], rtol=1e-6)
    np.testing.assert_allclose(as_float32(stored, scale)[2], [-254, 2, 4, 254], rtol=1e-6)


def test_scaling_changes_no_cosine_of_int8():
    one = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    for factor in (1e-30, 2.0**20):
        assert np.array_equal(as_stored(one, Storage.INT8)[0], as_stored(one * np.float32(factor), Storage.INT8)[0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_int8_refuses_what_has_no_size(wrong):
    with pytest.raises(ValueError, match="infinite number or none"):
        as_stored(np.array([[1, wrong]], np.float32), Storage.INT8)
    for storage in (Storage.FLOAT32, Storage.BFLOAT16):  # these have a place for it
        found = as_float32(as_stored(np.array([[1, wrong]], np.float32), storage)[0])
        np.testing.assert_array_equal(found, [[1, wrong]])


def test_the_storage_is_told_by_type_and_declared():
    for storage in Storage:
        schema = schema_of(3, {"bundle": "x"}, storage)
        assert storage_of(schema.field("vector").type.value_type) is storage
        assert json.loads(schema.metadata[STORED.encode()]) == {"storage": storage.value, "dimensions": 3}
        assert ("scale" in schema.names) == (storage is Storage.INT8)
        assert check_columns(schema.names, schema.field("vector").type.value_type) is storage
    with pytest.raises(ValueError, match="of type double, none of float, uint16, int8"):
        storage_of(pa.float64())


def test_an_origin_is_an_object():
    assert origin_of(b'{"a": [1]}') == {"a": [1]}
    for wrong, said in ((None, "lacks the origin"), ("[1]", "is no object"), ("{", "is no JSON")):
        with pytest.raises(ValueError, match=said):
            origin_of(wrong)
