"""The codec from Python, with nothing but ctypes. Usage: c_api_ctypes_test.py LIBRARY"""

import ctypes
import random
import struct
import sys
import unittest
from ctypes import POINTER, Structure, byref, c_char, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p

OK, INVALID_ARGUMENT, TOO_LARGE = 0, 1, 4
BF16 = 2


class Sized(Structure):
    """A struct that says its size."""

    def __init__(self, **fields):
        super().__init__(struct_bytes=ctypes.sizeof(self), **fields)


class Error(Sized):
    _fields_ = [("struct_bytes", c_size_t), ("status", c_int32), ("text", c_char * 256), ("hint", c_char * 256)]


class TensorView(Sized):
    _fields_ = [("struct_bytes", c_size_t), ("data", c_void_p), ("extents", c_int64 * 8), ("dtype", c_int32),
                ("rank", c_int32)]


class Limits(Sized):
    _fields_ = [("struct_bytes", c_size_t), ("max_tensor_bytes", c_size_t), ("max_channels", c_size_t),
                ("max_basis_coefficients", c_uint64)]


class LibraryBytes(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t), ("owner", c_void_p)]


class Encoded(Sized):
    _fields_ = [("struct_bytes", c_size_t), ("frame", LibraryBytes), ("basis", LibraryBytes),
                ("tensor_bytes", c_size_t), ("ideal_index_bits", c_double), ("snr_db", c_double),
                ("cosine", c_double), ("max_error", c_double), ("output_snr_db", c_double), ("key_frame", c_int32)]


class Decoded(Sized):
    _fields_ = [("struct_bytes", c_size_t), ("tensor", TensorView), ("owner", c_void_p)]


library = ctypes.CDLL(sys.argv.pop())
library.pinion_encoder_create.argtypes = [ctypes.c_char_p, c_void_p, c_void_p, POINTER(c_void_p), POINTER(Error)]
library.pinion_encoder_encode.argtypes = [c_void_p, POINTER(TensorView), c_void_p, POINTER(Encoded), POINTER(Error)]
library.pinion_decoder_create.argtypes = [c_void_p, c_int32, POINTER(c_void_p), POINTER(Error)]
library.pinion_decoder_decode.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, POINTER(Limits), POINTER(Decoded),
                                          POINTER(Error)]
library.pinion_encoder_free.argtypes = library.pinion_decoder_free.argtypes = [c_void_p]


class Codec(unittest.TestCase):
    def setUp(self):
        self.error = Error()
        self.encoder, self.decoder = c_void_p(), c_void_p()
        self.assertEqual(OK, library.pinion_encoder_create(b"lossless", None, None, byref(self.encoder), self.error))
        self.assertEqual(OK, library.pinion_decoder_create(None, 1, byref(self.decoder), self.error))

    def tearDown(self):
        library.pinion_encoder_free(self.encoder)
        library.pinion_decoder_free(self.decoder)

    def encode(self, values):
        tensor = TensorView(data=ctypes.cast(values, c_void_p), extents=(40, 25), dtype=BF16, rank=2)
        encoded = Encoded()
        self.assertEqual(OK, library.pinion_encoder_encode(self.encoder, tensor, None, encoded, self.error))
        frame = ctypes.string_at(encoded.frame.data, encoded.frame.size)
        library.pinion_encoded_free(byref(encoded))
        self.assertEqual((None, 0), (encoded.frame.data, encoded.frame.size))
        library.pinion_encoded_free(byref(encoded))
        return frame

    def test_a_stream_comes_back_bit_for_bit(self):
        dice = random.Random(5)
        limits = Limits(max_tensor_bytes=2000, max_channels=25, max_basis_coefficients=0)
        for _ in range(3):
            # The upper halves of floats: numbers near 1.
            values = b"".join(struct.pack("<f", dice.gauss(1, 0.1))[2:] for _ in range(1000))
            frame = self.encode(values)
            self.assertLess(len(frame), 1900)
            decoded = Decoded()
            self.assertEqual(OK, library.pinion_decoder_decode(self.decoder, frame, len(frame), None, limits, decoded,
                                                               self.error), self.error.text)
            self.assertEqual((BF16, 2, [40, 25]), (decoded.tensor.dtype, decoded.tensor.rank,
                                                   decoded.tensor.extents[:2]))
            self.assertEqual(values, ctypes.string_at(decoded.tensor.data, 2000))
            library.pinion_decoded_free(byref(decoded))

    def test_refusals_say_why(self):
        frame = self.encode(bytes(2000))
        limits = Limits(max_tensor_bytes=1999, max_channels=25, max_basis_coefficients=0)
        status = library.pinion_decoder_decode(self.decoder, frame, len(frame), None, limits, Decoded(), self.error)
        self.assertEqual((TOO_LARGE, TOO_LARGE), (status, self.error.status))
        self.assertIn(b"2000 bytes, at most 1999", self.error.text)
        encoder = c_void_p()
        status = library.pinion_encoder_create(b"losless", None, None, byref(encoder), self.error)
        self.assertEqual((INVALID_ARGUMENT, None), (status, encoder.value))
        self.assertIn(b"losless", self.error.text)
        self.assertIn(b"fidelity:DB", self.error.hint)


if __name__ == "__main__":
    unittest.main()
