"""The educational decoder's coding of fields, elements, symbols and integers (§1, §2, §4, §6.2, §6.3).

§ means a section of docs/format.md. educational_decoder.py is the program, and the place to begin.
"""
import functools
import itertools
import math
import struct
from types import SimpleNamespace as Fields


# §1 Words and notation. Whatever is wrong with a frame or an asset is one of four refusals.
class Refused(Exception):
    code = "bad_format"  # also where bytes are missing: this reader has the whole frame or never will


class Unsupported(Refused):
    code = "unsupported"


class TooLarge(Refused):
    code = "too_large"


class NotFound(Refused):
    code = "not_found"


def need(holds, rule, refusal=Refused):
    if not holds:
        raise refusal(rule)


def within(value, low, high):
    need(low <= value <= high, f"{value} is not in {low} to {high}")
    return value


class Reader:
    """Takes fields of whole bytes from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        need(size <= len(self.data) - self.at, "bytes are missing")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size, low=-math.inf, high=math.inf, signed=False):
        return within(int.from_bytes(self.take(size), "little", signed=signed), low, high)

    def varint(self, low=0, high=2**63 - 1):
        value = 0
        for place in range(9):
            byte = self.number(1)
            value |= (byte & 127) << 7 * place
            if byte < 128:
                need(byte > 0 or place == 0, "a varint ends with a needless 0")
                return within(value, low, high)
        raise Refused("a varint has more than 9 bytes")

    def floats(self, count):
        return list(struct.unpack(f"<{count}f", self.take(4 * count)))

    def end(self):
        need(self.at == len(self.data), "bytes are left over")


class BitReader:
    """Takes bits from a Reader, each byte from bit 0 up."""

    def __init__(self, source):
        self.source, self.byte, self.used = source, 0, 8

    def bits(self, count):
        value = 0
        for place in range(count):
            if self.used == 8:
                self.byte, self.used = self.source.number(1), 0
            value |= (self.byte >> self.used & 1) << place
            self.used += 1
        return value

    def gamma(self):
        n = next(n for n in itertools.count() if self.bits(1) == 1)
        return 1 << within(n, 0, 31) | self.bits(n)

    def rice(self, k):
        ones = next(n for n in itertools.count() if self.bits(1) == 0)
        return within(ones, 0, 40) << k | self.bits(k)

    def end(self):
        need(self.byte >> self.used == 0, "the bits that fill the last byte are not 0")


def from_zigzag(v):
    return v // 2 if v % 2 == 0 else -(v + 1) // 2


# §2.2 dtype: names, bytes of an element, and the values of elements.
DTYPES = ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("F64", 8), ("I64", 8), \
         ("I32", 4), ("I16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)
F32, F16, BF16, F8_E4M3, F8_E5M2 = range(5)
LARGEST = {F32: (2 - 2**-23) * 2.0**127, F16: 65504.0, BF16: (2 - 2**-7) * 2.0**127}


def values_of(dtype, data):
    count = len(data) // DTYPES[dtype][1]
    if dtype == BF16:  # the upper half of a f32
        whole = (b"\0\0" + data[at:at + 2] for at in range(0, len(data), 2))
        return struct.unpack(f"<{count}f", b"".join(whole))
    if dtype == F8_E4M3:  # 0 to 7 are multiples of 2^−9, S.1111.111 is NaN
        sizes = [(v % 8 + 8 * (v > 7)) * 2.0**(max(v >> 3, 1) - 10) for v in range(127)] + [math.nan]
        return [math.copysign(sizes[v & 127], 127.5 - v) for v in data]
    if dtype == F8_E5M2:  # the upper half of a f16
        return struct.unpack(f"<{count}e", b"".join(bytes([0, v]) for v in data))
    return struct.unpack(f"<{count}{'fe___dqihbB?'[dtype]}", data)


def bounded(values, dtype):
    """Within the largest finite values of the type; NaN becomes 0."""
    largest = LARGEST[dtype]
    return [0.0 if v != v else min(max(v, -largest), largest) for v in values]


def rounded(values, dtype):
    """The elements' bytes: to nearest, ties to even, beyond the range infinite."""
    if dtype == BF16:
        bits = struct.unpack(f"<{len(values)}I", rounded(values, F32))
        return struct.pack(f"<{len(bits)}H", *((v + 0x7FFF + (v >> 16 & 1)) >> 16 for v in bits))
    # Half a step beyond the largest is the tie with what would be the next value. struct refuses such ones.
    infinite = LARGEST[dtype] + (2.0**103 if dtype == F32 else 16)
    values = [math.copysign(math.inf, v) if abs(v) >= infinite else v for v in values]
    return struct.pack(f"<{len(values)}{'fe'[dtype]}", *values)


def binary32(values):
    return values_of(F32, rounded(values, F32))


# §2.8 The checksum of frames, assets and files, with a table of what eight bits do to each byte.
CRC_OF_BYTE = [functools.reduce(lambda v, _: v >> 1 ^ 0x82F63B78 * (v & 1), range(8), b) for b in range(256)]


def crc32c(data):
    return functools.reduce(lambda v, b: v >> 8 ^ CRC_OF_BYTE[(v ^ b) & 255], data, 2**32 - 1) ^ 2**32 - 1


def check_checksum(data):
    need(struct.pack("<I", crc32c(data[:-4])) == data[-4:], "checksum")


# §4 Entropy coding.
class Table:
    def __init__(self, frequencies):
        self.f, self.c = frequencies, list(itertools.accumulate(frequencies, initial=0))
        self.symbol_at = [s for s, f in enumerate(frequencies) for _ in range(f)]  # of each t below 4096


class Chunk:
    """§4.2. Taking a symbol or bits off a state makes it smaller; a word makes it long enough again. Several
    lanes let a fast decoder work on all of them at once; here they only take turns."""

    def __init__(self, data, lanes):
        self.words = Reader(data)
        self.x = [self.words.number(4, 2**16) for _ in range(lanes)]

    def symbol(self, j, table):
        t = self.x[j] % 4096  # a symbol owns as many of the 4096 remainders as its frequency says
        s = table.symbol_at[t]
        self.renormalise(j, table.f[s] * (self.x[j] >> 12) + t - table.c[s])
        return s

    def bits(self, j, n):
        v = self.x[j] % 2**n
        self.renormalise(j, self.x[j] >> n)
        return v

    def renormalise(self, j, x):
        self.x[j] = x if x >= 2**16 else x << 16 | self.words.number(2)

    def end(self):
        need(all(x == 2**16 for x in self.x), "a state does not end where encoders begin")
        self.words.end()


# §6.2 Classes, tables and component parameters. A class is the pair (shape, scale): how the
# frequencies of integers fall, and how far they spread. Tables are integers too: all machines have the same.
BASE = 13, 23, 25, 26
LARGEST_RARE = 11
EIGHTH = 65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194
FACTOR = 759250125, 902905651, 984625594, 1028218693, 1050733751, 1062175491, 1067942999, 1070838486, \
         1072289173, 1073015252, 1073378477, 1073560135, 1073650976, 1073696399, 1073719111, 1073730468


def power(x):
    """2^(−x / 2^16) in units of 2^−30: a product of the factors of the fraction's bits."""
    v = 2**30
    for j, factor in enumerate(FACTOR, 1):
        if x >> 16 - j & 1:
            v = v * factor + 2**29 >> 30
    return v >> (x >> 16) if x < 31 << 16 else 0


@functools.cache
def table_of(shape, scale):
    rare = min(scale, LARGEST_RARE)
    e = 30 - 2 * rare - (shape + 1) * (scale - rare)
    decay = EIGHTH[e % 8] << 8 >> 8 - e // 8  # λ; e // 8 may be negative
    weight = [power(decay * math.isqrt(n**(shape + 1) << 16) >> 8) for n in range(128)]
    total = weight[0] + 2 * sum(weight[1:])

    def scaled(w):
        return (w * 4096 + total // 2) // total

    half = next(n for n in range(1, 127) if n == 126 or scaled(weight[n + 1]) < 1)
    side = [max(1, scaled(w)) for w in weight[1:half + 1]]
    escape = max(1, scaled(2 * sum(weight[half + 1:])))
    return Table(side[::-1] + [4096 - 2 * sum(side) - escape] + side + [escape])


def max_scale(shape):
    return BASE[shape] + 64


def class_of(scale, rare_shape, wide_shape):
    scale = min(max(scale, 0), max_scale(wide_shape))
    return rare_shape if scale <= LARGEST_RARE else wide_shape, scale


def read_class(bits):
    shape = bits.bits(2)
    return shape, within(bits.bits(8), 0, max_scale(shape))


def read_small_numbers(bits, count):
    k = bits.bits(3)
    return [bits.rice(k) for _ in range(count)]


def read_differences(bits, count, high, other=None):
    values, p = [], 0
    for i, v in enumerate(read_small_numbers(bits, count)):
        if other is not None:
            p = other[i] if i < len(other) else 0
        p = within(p + from_zigzag(v), 0, high)
        values.append(p)
    return values


def read_component_parameters(bits, components, bands=1, state=None, references=0, in_frame=False):
    p = Fields(scales=[], classes=[], offsets={}, predictors=[], predictor_of=[0] * components)
    rare_shape, wide_shape = bits.bits(2), bits.bits(2)
    if components == 0:
        return p
    from_last = references > 0 and bits.bits(1) == 1
    need(not from_last or state.scales, "from_last needs a state with components")
    p.scales = read_differences(bits, components, max_scale(wide_shape), state.scales if from_last else None)
    band_scales = [within(bits.bits(6), 0, 62) - 31 for _ in range(bands - 1)] + [0]
    if references > 0:
        for _ in range(bits.bits(4) + 1):
            a, b = bits.bits(8), bits.bits(8) - 128 if references == 2 else 0
            p.predictors.append((a, b))
        p.predictor_of = [within(v, 0, len(p.predictors) - 1) for v in read_small_numbers(bits, components)]
    # One class a band, or none at all: only active components have residuals.
    p.classes = [[class_of(scale + b, rare_shape, wide_shape) for b in band_scales] if scale else []
                 for scale in p.scales]
    if in_frame:
        used = {scale for of_bands in p.classes for _, scale in of_bands}
        p.offsets = {scale: (bits.bits(3), bits.bits(3)) for scale in range(1, 17) if scale in used}
    return p


# §6.3 Coded integers.
def read_run(chunk, count, shape, scale):
    shift = max(0, scale - BASE[shape] + 3) // 4
    table = table_of(shape, scale - 4 * shift)
    half, lanes, values = len(table.f) // 2 - 1, len(chunk.x), []
    # The steps go over a whole group each, as a decoder of many lanes at once would.
    for first in range(0, count, lanes):
        group = range(min(lanes, count - first))
        h = [chunk.symbol(j, table) - half for j in group]
        low = [chunk.bits(j, shift) for j in group]
        escapes = [j for j in group if h[j] > half]
        signs_and_n = [chunk.bits(j, 6) for j in escapes]
        need(all(v >> 1 <= 27 for v in signs_and_n), "an escape is too large")
        e = [chunk.bits(j, min(v >> 1, 16)) for j, v in zip(escapes, signs_and_n)]
        for j, v, lower in zip(escapes, signs_and_n, e):
            upper = chunk.bits(j, max(0, (v >> 1) - 16))
            h[j] = (half + 2**(v >> 1) + lower + (upper << 16)) * (-1 if v & 1 else 1)
        values += [(h[j] << shift) + low[j] - (1 << shift >> 1) for j in group]
    need(all(abs(v) < 2**26 for v in values), "a coded integer is too large")
    return values


def read_map(source, the_class, expected, bands):
    """The band of each row: what is expected of it, and how far it is from that."""
    data = source.take(source.varint())
    if the_class[1] == 0:
        need(not data, "a map although all rows lie where they are expected")
        return expected
    chunk = Chunk(data, 1)
    band_of = [within(e + v, 0, bands - 1) for e, v in zip(expected, read_run(chunk, len(expected), *the_class))]
    chunk.end()
    return band_of


def read_grid(source, classes, band_of, mean_class=(0, 0), channels=0):
    """The integers [components, rows], and those of the means; `classes` has a class a component and band."""
    lanes = 2**source.number(1, 0, 5)
    tile_rows, group_components = source.varint(1, 2**31 - 1), source.varint(1, 2**31 - 1)
    # Rows of one band, and so of one spread, stand together. Sorting is stable: ascending within a band.
    order = sorted(range(len(band_of)), key=lambda r: band_of[r])
    active = [k for k, of_bands in enumerate(classes) if of_bands]
    groups = [active[i:i + group_components] for i in range(0, len(active), group_components)] or [[]]
    tiles = [order[i:i + tile_rows] for i in range(0, len(order), tile_rows)] or [[]]
    sizes = [source.varint(0, 2**31 - 1) for _ in groups for _ in tiles]
    q, means = [[0] * len(order) for _ in classes], [0] * channels
    for i, (group, tile) in enumerate(itertools.product(groups, tiles)):
        chunk = Chunk(source.take(sizes[i]), lanes)
        if i == 0 and mean_class[1] > 0:
            means = read_run(chunk, channels, *mean_class)
        for k in group:
            for band, places in itertools.groupby(tile, key=lambda r: band_of[r]):
                rows = list(places)
                if classes[k][band][1] > 0:
                    for r, v in zip(rows, read_run(chunk, len(rows), *classes[k][band])):
                        q[k][r] = v
        chunk.end()
    source.end()
    return q, means
