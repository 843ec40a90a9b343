"""The educational decoder's mode 6 (§12, §13 of docs/format.md); educational_decoder.py is the program."""
import math
from types import SimpleNamespace as Fields

from educational_coding import (
    BitReader, NotFound, Reader, TooLarge, Unsupported, check_checksum, class_of, from_zigzag, max_scale,
    need, read_grid, read_map, read_small_numbers, within)


def decode_calibrated(f, asset, state, latents, latents_before):
    """The new state and the values of the tensor. Latents are [rows, latents]."""
    integers = read_body(f, asset, state)
    if asset.latents > 0:
        need(len(latents) == f.rows, "the context has no latents for these rows", NotFound)
        need(len(latents_before) == f.rows or integers.predictor == 0, "no latents before", NotFound)
    y, values = reconstruct(integers, asset, state.y if state else None, latents, latents_before)
    return Fields(y=y, band_of=[0] * f.rows if integers.grid else integers.band_of), values


# §12.1 Body.
def read_body(f, asset, state):
    body, c = f.body, Fields()
    c.predictor = body.number(1, 0, 1)
    has_previous = f.previous_checksum is not None
    need(has_previous == (c.predictor == 1 and asset.has_history), "flags and predictor do not agree")
    c.record = record_at(asset.records, body.number(2, 0, 256 * (len(asset.records) - 1)))
    step_log2 = body.number(2, -2048, 2047, signed=True)
    c.output_snr = body.number(2, signed=True)
    shapes = body.number(1)
    need(not shapes & 64 or not shapes & (32 + 128), "a transform, and bands or low frequencies")
    scale_offset = body.number(1, signed=True)
    c.delta_sigma = 1.0
    if c.predictor == 1 and asset.latents > 0:
        c.delta_sigma, = body.floats(1)
        need(2**-20 <= abs(c.delta_sigma) < math.inf, "delta_sigma")
    c.band_of, band_step, band_scales = [0] * f.rows, 0, [0]
    if shapes & 32:
        c.band_of, band_step, band_scales = read_bands(body, f.rows, state if has_previous else None)
    c.grid = None
    if shapes & 64:
        c.grid, c.band_of = read_pictures(body, f.rows)
        band_scales = read_band_scales(body, 8)
    c.step_of_band = [2.0**((step_log2 + b * band_step) / 64) for b in range(len(band_scales))]
    levels = c.record.HISTORY_LEVELS if c.predictor == 1 else c.record.LATENTS_LEVELS
    c.low = read_low_frequencies(Reader(body.take(body.varint())), f.rows, levels) if shapes & 128 else None
    classes = read_classes(body, levels, step_log2, scale_offset, shapes, band_scales)
    c.indices, _ = read_grid(body, classes, c.band_of)
    return c


# §12.3 Table classes. They follow from integers alone, so that rounding cannot break the decoding.
def scale_of(level, step_log2, scale_offset, wide_shape):
    x = 8 * (level - 128) - step_log2
    return min(max((4 * x + 877 >> 6) + scale_offset, 0), max_scale(wide_shape))


def read_classes(body, levels, step_log2, scale_offset, shapes, band_scales):
    """For each component its class in each band."""
    rare_shape, wide_shape = shapes & 3, shapes >> 2 & 3
    scales = [scale_of(level, step_log2, scale_offset, wide_shape) for level in levels]
    if shapes & 16:
        written = Reader(body.take(body.varint()))
        bits = BitReader(written)
        scales = [within(scale + from_zigzag(v), 0, max_scale(wide_shape))
                  for scale, v in zip(scales, read_small_numbers(bits, len(levels)))]
        bits.end()
        written.end()
    return [[class_of(scale + b, rare_shape, wide_shape) for b in band_scales] if scale > 0 else []
            for scale in scales]


def read_band_scales(body, bands):
    return [0] + [body.number(1, -31, 31, signed=True) for _ in range(bands - 1)]


# §12.6 Bands.
def read_bands(body, rows, state):
    bands, band_step = body.number(1, 2, 8), body.number(1)
    band_scales = read_band_scales(body, bands)
    if state:
        expected = [min(band, bands - 1) for band in state.band_of]
    else:
        expected = [body.number(1, 0, bands - 1)] * rows
    shape = body.number(1, 0, 3)
    band_of = read_map(body, (shape, body.number(1, 0, max_scale(shape))), expected, bands)
    return band_of, band_step, band_scales


# §12.7 Transformed residuals.
def read_pictures(body, rows):
    """Lines and columns, and the band of each row's coefficient."""
    columns, lines = body.number(2, 1), body.number(2, 1)
    need(rows % (columns * lines) == 0, "the rows are no pictures")
    of_frequency = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6] + [7] * 5
    band_of = [0] * rows
    for tile, h, w in tiles(rows, lines, columns):
        for (u, v), r in tile.items():
            band_of[r] = of_frequency[8 * u // h + 8 * v // w]
    return (lines, columns), band_of


def tiles(rows, lines, columns):
    """The rows of each tile by line and column, its lines and its columns."""
    for picture in range(0, rows, lines * columns):
        for top in range(0, lines, 8):
            for left in range(0, columns, 8):
                h, w = min(8, lines - top), min(8, columns - left)
                yield {(i, j): picture + (top + i) * columns + left + j for i in range(h) for j in range(w)}, h, w


def wave(n, k, i):
    return math.sqrt((2 if k else 1) / n) * math.cos(math.pi * (2 * i + 1) * k / (2 * n))


def restore(values, lines, columns):
    """A component's values [rows] of its coefficients."""
    restored = [0.0] * len(values)
    for tile, h, w in tiles(len(values), lines, columns):
        for (i, j), r in tile.items():
            restored[r] = sum(values[of] * wave(h, u, i) * wave(w, v, j) for (u, v), of in tile.items())
    return restored


# §12.8 Low frequencies.
def read_low_frequencies(body, rows, levels):
    low = Fields()
    low.grid, band_of = read_pictures(body, rows)
    classes, step_log2 = body.number(1, 1, 7), body.number(2, -2048, 2047, signed=True)
    low.step = 2.0**(step_log2 / 64)
    shapes, scale_offset = body.number(1, 64, 127), body.number(1, signed=True)
    need(not shapes & 32, "low frequencies in bands")
    table_classes = read_classes(body, levels, step_log2, scale_offset, shapes, read_band_scales(body, classes))
    low.rows = [r for r in range(rows) if band_of[r] < classes]
    low.indices, _ = read_grid(body, table_classes, [band_of[r] for r in low.rows])
    return low


def low_sums(low, rows):
    """What is added to p, [components, rows]."""
    for index in low.indices:
        values = [0.0] * rows
        for r, v in zip(low.rows, index):
            values[r] = low.step * v
        yield restore(values, *low.grid)


# §12.2 The record: what lies between two of them.
def record_at(records, position):
    i, b = position >> 8, position & 255
    if b == 0:
        return records[i]
    blend = Fields()
    for name, first in vars(records[i]).items():
        second = vars(records[i + 1])[name]
        if name in LEVELS:
            value = [v * (256 - b) + w * b + 128 >> 8 for v, w in zip(first, second)]
        else:  # rows of floats
            value = [[v + (w - v) * b / 256 for v, w in zip(*rows)] for rows in zip(first, second)]
        setattr(blend, name, value)
    return blend


# §12.4 Reconstruction.
def reconstruct(c, asset, y_before, latents, latents_before):
    """The new state y [rows, components] and the tensor's values."""
    record, new_y, values = c.record, [], []
    steps = [c.step_of_band[band] for band in c.band_of]
    added = [[step * v for step, v in zip(steps, index)] for index in c.indices]
    if c.grid:
        added = [restore(component, *c.grid) for component in added]
    low = list(low_sums(c.low, len(c.indices[0]))) if c.low else None
    for r in range(len(c.indices[0])):
        x = latents[r] if asset.latents > 0 else []
        u = [v - m for v, m in zip(x, record.LATENT_MEAN[0])]
        if c.predictor == 0:
            p = times(u, record.LATENTS_ALONE, asset.components)
        else:
            x_before = latents_before[r] if asset.latents > 0 else []
            w = [(v - b) / c.delta_sigma - m for v, b, m in zip(x, x_before, record.CHANGE_MEAN[0])]
            p = times((y_before[r] if asset.has_history else []) + u + w, record.HISTORY, asset.components)
        if low:
            p = in_range(v + of_component[r] for v, of_component in zip(p, low))
        y = in_range(v + of_component[r] for v, of_component in zip(p, added))
        new_y.append(y)
        values += [m + v for m, v in zip(record.MEAN[0], times(y + u, asset.RECONSTRUCTION, asset.channels))]
    return new_y, values


def in_range(values):
    return [0.0 if math.isnan(v) else min(max(v, -2.0**60), 2.0**60) for v in values]


def times(row, matrix, width):
    return [sum(v * of_v[column] for v, of_v in zip(row, matrix)) for column in range(width)]


# §13 Calibration asset. What only encoders and reports need is read and checked all the same.
LEVELS = "LATENTS_LEVELS", "HISTORY_LEVELS"
MOST_VALUES = 2**26  # in a calibration: this reader's own limit


def read_calibration(data):
    r, asset = Reader(data[:-4]), Fields()
    need(r.take(4) == b"PNC1", "no calibration begins so")
    need(r.number(1) == 1, "version of a calibration", Unsupported)
    flags = r.number(1, 0, 7)
    asset.has_history, asset.has_loudness, asset.has_response = (flags >> bit & 1 == 1 for bit in range(3))
    asset.model = r.take(32)
    asset.cut = r.varint(0, 65535)
    asset.stream = r.take(r.varint(1, 64))
    d = asset.channels = r.varint(1, 65536)
    K = asset.components = r.varint(1, d)
    L = asset.latents = r.varint(0, 4096)
    n = r.varint(1, 255)
    F = (K if asset.has_history else 0) + 2 * L
    need(L > 0 or not asset.has_response, "a response of no velocity")
    D = d if asset.has_loudness else 0
    R = L if asset.has_response else 0
    values = K * d + (K + L) * d + n * (d + 2 * L + (L + F) * K + 3 * K + 3 + D + R * d)
    need(values <= MOST_VALUES, "calibration", TooLarge)
    check_checksum(data)
    asset.PROJECTION = read_matrix(r, K, d)
    asset.RECONSTRUCTION = read_matrix(r, K + L, d)
    asset.records = [read_record(r, d, K, L, F, D, R) for _ in range(n)]
    r.end()
    sigmas = [record.SIGMA[0][0] for record in asset.records]
    need(all(a > b for a, b in zip(sigmas, sigmas[1:])), "σ does not fall")
    return asset


def read_floats(r, count, low=-2.0**60, high=2.0**60):
    values = r.floats(count)
    need(all(low <= v <= high for v in values), "a float is out of its range")
    return values


def read_matrix(r, rows, columns):
    scales = read_floats(r, rows, 0, 2.0**40)
    return [[scale * r.number(2, signed=True) for _ in range(columns)] for scale in scales]


# §13.1 Record. Floats are rows of a matrix, so that §12.2 treats them all alike.
def read_record(r, d, K, L, F, D, R):
    record = Fields()
    record.SIGMA = [read_floats(r, 1, 0, 1)]
    record.MEAN = [read_floats(r, d)]
    record.LATENT_MEAN = [read_floats(r, L)]
    record.CHANGE_MEAN = [read_floats(r, L)]
    record.LATENTS_ALONE = read_matrix(r, L, K)
    record.HISTORY = read_matrix(r, F, K)
    record.LATENTS_LEVELS, record.HISTORY_LEVELS = list(r.take(K)), list(r.take(K))
    record.GAIN = [read_floats(r, K, 0)]
    record.FLOOR = [read_floats(r, 1, 0)]
    record.OUTPUT_ENERGY = [read_floats(r, 1, 0)]
    need(record.OUTPUT_ENERGY[0][0] > 0, "OUTPUT_ENERGY")
    if D > 0:
        record.LOUDNESS = [read_floats(r, D)]
        record.LOUDNESS_BIAS = [read_floats(r, 1)]
    record.RESPONSE = read_matrix(r, R, d)
    return record
