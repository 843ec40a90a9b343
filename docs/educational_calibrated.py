"""The educational decoder's mode 6 (§12, §13 of docs/format.md); educational_decoder.py is the program."""
import math
from types import SimpleNamespace as Fields

from educational_coding import (
    BitReader, NotFound, Reader, TooLarge, Unsupported, checked, class_of, from_zigzag, max_scale, need,
    read_grid, read_small_numbers, utf8, within)


# §12.2 The record: what is between two of them.
def record_at(records, position):
    i, b = position >> 8, position & 255
    if b == 0:
        return records[i]
    first, second, blend = vars(records[i]), vars(records[i + 1]), Fields()
    for name, of_first in first.items():
        if name in LEVELS:
            value = [l * (256 - b) + m * b + 128 >> 8 for l, m in zip(of_first, second[name])]
        else:  # rows of floats
            value = [[v + (w - v) * b / 256 for v, w in zip(*rows)] for rows in zip(of_first, second[name])]
        setattr(blend, name, value)
    return blend


# §12.1 Body.
def decode_calibrated(f, asset, state, latents, latents_before):
    body = f.body
    predictor = body.number(1, 0, 1)
    has_previous = f.previous_checksum is not None
    need(has_previous == (predictor == 1 and asset.has_history), "predictor and flags do not agree")
    record = record_at(asset.records, body.number(2, 0, 256 * (len(asset.records) - 1)))
    step_log2 = body.number(2, -2048, 2047, signed=True)
    body.number(2)  # output_snr: for reports
    shapes = body.number(1, 0, 31)
    rare_shape, wide_shape = shapes & 3, shapes >> 2 & 3
    scale_offset = body.number(1, signed=True)
    delta_sigma = 1.0
    if predictor == 1 and asset.latents > 0:
        delta_sigma, = body.floats(1)
        need(2**-20 <= abs(delta_sigma) < math.inf, "delta_sigma")
    # §12.3 Table classes.
    levels = record.HISTORY_LEVELS if predictor == 1 else record.LATENTS_LEVELS
    x = [8 * (level - 128) - step_log2 for level in levels]
    scales = [min(max((4 * v + 877 >> 6) + scale_offset, 0), max_scale(wide_shape)) for v in x]
    if shapes >> 4:
        written = Reader(body.take(body.varint()))
        bits = BitReader(written)
        scales = [within(scale + from_zigzag(v), 0, max_scale(wide_shape))
                  for scale, v in zip(scales, read_small_numbers(bits, asset.components))]
        bits.end()
        written.end()
    classes = [[class_of(scale, rare_shape, wide_shape)] if scale else [] for scale in scales]
    indices, _ = read_grid(body, classes, [0] * f.rows)

    need(len(latents) == f.rows or asset.latents == 0, "there are no latents for these rows", NotFound)
    need(len(latents_before) == f.rows or predictor == 0 or asset.latents == 0, "latents before", NotFound)
    new = Fields(y=[])
    step = 2.0**(step_log2 / 64)
    values = []
    for r in range(f.rows):
        x = latents[r] if asset.latents else []
        before = latents_before[r] if asset.latents and predictor == 1 else x
        y, tensor = reconstruct_row(asset, record, predictor, delta_sigma, x, before,
                                    state.y[r] if state else [], [step * q[r] for q in indices])
        new.y.append(y)
        values += tensor
    return new, values


# §12.4 Reconstruction.
def times(row, matrix, width):
    return [math.fsum(v * of_v[c] for v, of_v in zip(row, matrix)) for c in range(width)]


def reconstruct_row(asset, record, predictor, delta_sigma, x, before, old_y, coded):
    """The state and the tensor of one row; `coded` is step · index."""
    u = [v - m for v, m in zip(x, record.LATENT_MEAN[0])]
    if predictor == 1:
        w = [(v - b) / delta_sigma - m for v, b, m in zip(x, before, record.CHANGE_MEAN[0])]
        p = times(old_y + u + w, record.HISTORY, asset.components)
    else:
        p = times(u, record.LATENTS_ALONE, asset.components)
    y = [0.0 if math.isnan(a + b) else min(max(a + b, -2.0**60), 2.0**60) for a, b in zip(p, coded)]
    return y, [m + v for m, v in zip(record.MEAN[0], times(y + u, asset.RECONSTRUCTION, asset.channels))]


# §13 Calibration asset.
LEVELS = "LATENTS_LEVELS", "HISTORY_LEVELS"
MOST_VALUES = 2**28  # of all matrices and records: this reader's own limit


def read_calibration(data):
    r, asset = Reader(data), Fields()
    need(r.take(4) == b"PNC1", "no calibration begins so")
    need(r.number(1) == 1, "version of a calibration", Unsupported)
    r = Reader(checked(data))
    r.take(5)
    asset.has_history = r.number(1, 0, 1) == 1
    asset.model = r.take(32)
    asset.cut = r.varint(0, 65535)
    asset.stream = utf8(r.take(r.varint(1, 64)))
    d = asset.channels = r.varint(1, 65536)
    K = asset.components = r.varint(1, d)
    L = asset.latents = r.varint(0, 4096)
    n = r.varint(1, 255)
    F = (K if asset.has_history else 0) + 2 * L
    values = K * d + (K + L) * d + n * (d + 2 * L + (L + F) * K + 3 * K + 3)
    need(values <= MOST_VALUES, "calibration", TooLarge)
    asset.PROJECTION = read_matrix(r, K, d)
    asset.RECONSTRUCTION = read_matrix(r, K + L, d)
    asset.records = [read_record(r, d, K, L, F) for _ in range(n)]
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
def read_record(r, d, K, L, F):
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
    return record
