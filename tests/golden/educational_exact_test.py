"""docs/educational_exact.py on frames made by hand, with what docs/format.md says of elements but no golden
file has."""

import math
import pathlib
import struct
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "docs"))

import educational_coding as coding
import educational_decoder as educational
import educational_exact as exact


def frame_of(mode, dtype, shape, body, previous=None):
    """All sizes are so small that a varint is a byte. `previous` is the frame to predict from."""
    head = b"PNF1" + bytes([1, mode, dtype, 0 if previous is None else 2, len(shape), *shape, len(body)])
    data = head + (b"" if previous is None else previous[-4:]) + body
    return data + struct.pack("<I", coding.crc32c(data))


def raw_planes(*planes):
    return bytes([0, 1, *(0 for _ in planes)]) + b"".join(map(bytes, planes))


class EducationalExact(unittest.TestCase):
    def bounded_frame(self, dtype, steps, numbers, escaped=(), previous=None):
        """A row of elements. Steps are upper halves; `escaped` are elements' bytes."""
        body = bytes([len(steps) > 1]) + struct.pack(f"<{len(steps)}H", *steps)
        body += bytes([2, len(escaped)]) + b"".join(escaped)
        body += raw_planes([u >> 8 for u in numbers], [u & 255 for u in numbers])
        return frame_of(educational.BOUNDED, dtype, [len(numbers)], body, previous)

    def bounded_after(self, dtype, before, steps, numbers, escaped=()):
        """The bytes that a predicted frame gives after one in which all elements are escaped."""
        decoder = educational.Decoder({}, {})
        elements = exact.pieces(before, coding.DTYPES[dtype][1])
        key = self.bounded_frame(dtype, [0x3F80], [0] * len(elements), elements)
        self.assertEqual(decoder.decode(key).tensor, before)
        return decoder.decode(self.bounded_frame(dtype, steps, numbers, escaped, key)).tensor

    def test_bounded_elements_are_a_number_of_steps(self):
        one, least = 0x3F80, 0x0080  # 1 and 2^−126
        # Predictions are ties to even up to 2^22 steps, and 0 beyond, and where there is no number.
        before = [2.5, math.nan, math.inf, 2**22, 2**22 + 1, -3.5 * 2**-126, 2**-103, 2**-149]
        steps = [one] * 5 + [least] * 3
        tensor = self.bounded_after(coding.F32, struct.pack("<8f", *before), steps, [1, 1, 2, 3, 3, 2, 5, 0],
                                    [b"escd"])
        self.assertEqual(tensor, struct.pack("<7f", 2, 0, -1, 2**22 + 1, 1, -5 * 2**-126, 2**-125) + b"escd")

        # Beyond the range of binary32, and of the element type, is infinite.
        decoder = educational.Decoder({}, {})
        for dtype, step, wanted in (
            (coding.F32, 0x7F00, "0000807f 000080ff"), (coding.BF16, 0x7F00, "807f 80ff"),
            (coding.F16, 0x477F, "007c 00fc"), (coding.F16, 0x7F7F, "007c 00fc"),
        ):
            frame = self.bounded_frame(dtype, [step], [5, 4])  # 2 and −2 steps
            self.assertEqual(decoder.decode(frame).tensor, bytes.fromhex(wanted))
        for numbers, escaped in (([0, 1], []), ([1, 1], [b"12"]), ([0, 1], [b"12", b"34"])):
            with self.assertRaises(coding.Refused):
                decoder.decode(self.bounded_frame(coding.F16, [one], numbers, escaped))

    def test_bounded_elements_are_rounded_twice(self):
        # 2080956.527 steps of 129/128 are a tie in binary32, 2080956 steps are 2097213.47.
        tensor = self.bounded_after(coding.F32, struct.pack("<f", 2097214), [0x3F81], [1])
        self.assertEqual(tensor, struct.pack("<f", 2097213.5))
        # 2244481 steps of 129 · 2^−28 are 2^−28 more than a tie of f16, in binary32 the tie.
        tensor = self.bounded_after(coding.F16, struct.pack("<e", 1.0791015625), [0x3501], [2032])
        self.assertEqual(tensor, struct.pack("<e", 1.078125))

    def test_groups_are_of_32_and_integers_have_signs(self):
        decoder = educational.Decoder({}, {})
        # Rows of 33: scales of 1, 2 and 0, 2^−133, which is subnormal.
        scales = struct.pack("<4H", 0x3F80, 0x4000, 0, 1)
        integers = [*range(-16, 17), *range(-16, 17)]
        frame = frame_of(educational.INT8, coding.F32, (2, 33), scales + struct.pack("<66b", *integers))
        wanted = [*range(-16, 16), 32, *(math.copysign(0, v) for v in range(-16, 16)), 2**-129]
        self.assertEqual(decoder.decode(frame).tensor, struct.pack("<66f", *wanted))
        # Rows of 32 have one group.
        body = struct.pack("<2H", 0x3F80, 0x4000) + bytes([1]) * 64
        self.assertEqual(decoder.decode(frame_of(educational.INT8, coding.F32, (2, 32), body)).tensor,
                         struct.pack("<64f", *[1] * 32, *[2] * 32))
        # A lower half comes first, the last upper one is no element. What is too large becomes the largest.
        for dtype, largest in ((coding.F32, "ffff7f7f"), (coding.BF16, "7f7f"), (coding.F16, "ff7b")):
            body = struct.pack("<HBB", 0x7F7F, 0x08, 0x07)  # −8, 0, 7
            tensor = decoder.decode(frame_of(educational.INT4, dtype, (3,), body)).tensor
            most, = coding.values_of(dtype, bytes.fromhex(largest))
            self.assertEqual(coding.values_of(dtype, tensor), (-most, 0, most))
            reserved = body[:-1] + b"\x17"
            self.assertRaises(coding.Refused, decoder.decode, frame_of(educational.INT4, dtype, (3,), reserved))

    def test_states_are_those_of_their_mode(self):
        decoder = educational.Decoder({}, {})

        def lossless(dtype, shape, planes, previous=None):
            return frame_of(educational.LOSSLESS, dtype, shape, raw_planes(*planes), previous)

        key = lossless(coding.F8_E4M3, (2, 1), [[0x81, 0x01]])
        change = lossless(coding.F8_E4M3, (1, 2, 1), [[4, 5]], key)
        self.assertRaises(coding.NotFound, decoder.decode, change)
        decoder.decode(key)
        for dtype, shape, planes in (
            (coding.F8_E5M2, (2, 1), [[4, 5]]), (coding.F8_E4M3, (1, 2), [[4, 5]]),
            (coding.F8_E4M3, (3, 1), [[4, 5, 6]]),
        ):
            with self.assertRaises(coding.Refused) as raised:
                decoder.decode(lossless(dtype, shape, planes, key))
            self.assertEqual(raised.exception.code, "bad_format")
        empty = frame_of(educational.LOSSLESS, coding.F8_E4M3, (0, 1), b"", key)
        self.assertRaises(coding.Refused, decoder.decode, empty)
        # None of these is the last frame of mode 1 with elements.
        for between in (frame_of(educational.LOSSLESS, coding.F8_E4M3, (0,), b""),
                        frame_of(educational.RAW, coding.F8_E4M3, (1,), b"x"),
                        self.bounded_frame(coding.F32, [0x3F80], [1])):
            decoder.decode(between)
        # o(81) = FE, two more are o(80) = FF and 0; o(01) = 1, three less are −2: FE.
        self.assertEqual(decoder.decode(change).tensor, b"\x00\x81")
        self.assertRaises(coding.NotFound, decoder.decode, change)


if __name__ == "__main__":
    unittest.main()
