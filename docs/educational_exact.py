"""The educational decoder's modes that give the same bits everywhere: 1, 3, 4 and 5 (§5, §9, §10, §11).

§ means a section of docs/format.md. educational_decoder.py is the program. `f` is a frame as it reads them;
`before` has the bytes of the tensor that the frame predicts from (§5.3, §9.3), or is None in a key frame.
"""
import itertools
import math
from types import SimpleNamespace as Fields

from educational_coding import (
    BF16, F32, BitReader, Chunk, Table, binary32, bounded, from_zigzag, need, rounded, values_of,
    within)


# §4.3 A table in a frame. A run of zeros ends where it can: what follows is not 0, and is written less 1.
def read_table(bits):
    f, after_zeros = [], False
    while sum(f) < 4096:
        frequency = bits.gamma() - (0 if after_zeros else 1)
        after_zeros = frequency == 0
        f += [0] * within(bits.gamma(), 1, 255) if after_zeros else [frequency]
        need(sum(f) <= 4096 and len(f) <= (255 if after_zeros else 256), "a table is too long or too large")
    return Table(f)


# §5 Mode 1: lossless.
def decode_lossless(f, before):
    bits = 8 * f.element_bytes
    ones, highest = 2**bits - 1, 2**(bits - 1)
    rotation = 1 if f.dtype in (F32, BF16) else 0  # the sign leaves the highest byte to the exponent

    def ordered(v):  # as the values are, so that close values are close numbers; its own inverse
        return v ^ highest - 1 if v & highest else v

    if before is None:
        numbers = read_numbers(f, f.element_bytes)
        elements = [v >> rotation | v << bits - rotation & ones for v in numbers]
    else:
        old = [int.from_bytes(element, "little") for element in pieces(before, f.element_bytes)]
        # How an element may change depends on its exponent: the context chooses the table.
        contexts = [(v << rotation & ones) >> bits - 8 for v in old]
        changes = map(from_zigzag, read_numbers(f, f.element_bytes, contexts))
        elements = [ordered(ordered(v) + change & ones) for v, change in zip(old, changes)]
    return b"".join(v.to_bytes(f.element_bytes, "little") for v in elements)


def pieces(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


# §5.2 Planes. Bytes of one weight are alike: those of exponents hardly vary, the lowest are noise.
def read_numbers(f, planes, contexts=None):
    """Reads a section of planes to the end of the body, and joins the planes to a number for each element."""
    lanes, chunk_elements = 2**f.body.number(1, 0, 5), f.body.varint(1, 2**48 - 1)
    headers = [read_plane_header(f.body, f.channels, contexts is not None) for _ in range(planes)]
    firsts = range(0, f.elements, chunk_elements)
    sizes = [[f.body.varint(0, 2**31 - 1) for _ in firsts] if plane.tables else [] for plane in headers]
    bytes_of = []
    for plane, sizes_of_plane in zip(headers, sizes):
        if plane.tables:
            data = bytearray()
            places = contexts if plane.by_context else [i % f.channels for i in range(f.elements)]
            for first, size in zip(firsts, sizes_of_plane):
                chunk = Chunk(f.body.take(size), lanes)
                for n, place in enumerate(places[first:first + chunk_elements]):
                    data.append(chunk.symbol(n % lanes, plane.tables[place]))
                chunk.end()
        elif plane.constant is None:
            data = f.body.take(f.elements)
        else:
            data = bytes([plane.constant]) * f.elements
        bytes_of.append(data)
    f.body.end()
    return [int.from_bytes(of_element, "big") for of_element in zip(*bytes_of)]  # plane 0 is the highest


def read_plane_header(body, channels, has_contexts):
    """`constant`, or `tables`, one for each channel or each context; neither for a raw plane."""
    kind = body.number(1, 0, 3 if has_contexts else 2)
    if kind < 2:
        return Fields(constant=body.number(1) if kind == 1 else None, tables=None)
    classes = body.number(1, 1, 16)
    bits = BitReader(body)

    def read_class_index():
        return within(bits.bits((classes - 1).bit_length()), 0, classes - 1)

    if kind == 2:
        class_of = [read_class_index() for _ in range(channels)]
    else:
        class_of = []
        while len(class_of) < 256:
            one = read_class_index()
            class_of += [one] * within(bits.gamma(), 1, 256 - len(class_of))
    tables = [read_table(bits) for _ in range(classes)]
    bits.end()
    return Fields(by_context=kind == 3, tables=[tables[c] for c in class_of])


# §9 Mode 3: bounded. Its reals are of binary32. Python's are of binary64; one operation on two of binary32
# in binary64, rounded to binary32, gives the same as in binary32.
def decode_bounded(f, before):
    body = f.body
    count = f.channels if body.number(1, 0, 1) == 1 else 1
    steps = [upper_half(body.number(2, 0x0080, 0x7F7F)) for _ in range(count)]
    number_bytes = body.number(1, 1, 2)
    escaped = pieces(body.take(body.varint(0, f.elements) * f.element_bytes), f.element_bytes)
    numbers = read_numbers(f, number_bytes)
    need(numbers.count(0) == len(escaped), "escapes")

    # §9.2 Elements. A number says by how many steps an element is away from the one before, on a grid of
    # steps through 0: errors of the frame before do not add up.
    p = [0] * f.elements
    if before is not None:
        x = values_of(f.dtype, before)
        t = binary32([v / s for v, s in zip(x, itertools.cycle(steps))])
        p = [round(v) if abs(v) <= 2**22 else 0 for v in t]  # round() takes ties to even
    values = binary32([(v + from_zigzag(max(u, 1) - 1)) * s
                       for v, u, s in zip(p, numbers, itertools.cycle(steps))])
    escapes = iter(escaped)
    return b"".join(next(escapes) if u == 0 else element
                    for u, element in zip(numbers, pieces(rounded(values, f.dtype), f.element_bytes)))


def upper_half(v):
    """The binary32 whose upper half is v and whose lower half is 0."""
    value, = values_of(BF16, v.to_bytes(2, "little"))
    return value


# §10 Mode 4: int8, and §11 Mode 5: int4.
GROUP = 32


def decode_int8(f):
    return decode_groups(f, lambda: [(v ^ 128) - 128 for v in f.body.take(f.elements)])


def decode_int4(f):
    def read_integers():
        data = f.body.take((f.elements + 1) // 2)
        halves = [v for byte in data for v in (byte & 15, byte >> 4)]
        need(not any(halves[f.elements:]), "the half that is left over is not 0")
        return [(v ^ 8) - 8 for v in halves[:f.elements]]
    return decode_groups(f, read_integers)


def decode_groups(f, read_integers):
    groups = math.ceil(f.channels / GROUP)
    scales = [upper_half(f.body.number(2, 0, 0x7F7F)) for _ in range(f.rows * groups)]
    integers = read_integers()
    f.body.end()
    values = [v * scales[i // f.channels * groups + i % f.channels // GROUP] for i, v in enumerate(integers)]
    return rounded(bounded(values, f.dtype), f.dtype)
