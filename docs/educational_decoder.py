#!/usr/bin/env python3
"""A decoder of Pinion's coded tensors to learn from: docs/format.md, in its order and with its names.

    python3 docs/educational_decoder.py FILE.pnf [--out FILE.safetensors]

§ means a section of the document. How numbers are coded (§1, §4, §6.2, §6.3) is in educational_coding.py,
modes 1, 3, 4 and 5 (§4.3, §5, §9, §10, §11) in educational_exact.py, mode 6 (§12, §13) in
educational_calibrated.py. Integers are Python's, reals are binary64 where nothing else is said.
"""
import argparse
import hashlib
import json
import math
import struct
import sys
from types import SimpleNamespace as Fields

import educational_calibrated as calibrated
import educational_exact as exact
from educational_coding import (
    DTYPES, BitReader, NotFound, Reader, Refused, TooLarge, Unsupported, binary32, bounded,
    check_checksum, need, read_class, read_component_parameters, read_differences, read_grid, read_map,
    rounded, values_of, within)


# §2 Frame. Which types a mode allows (§2.2), and which flags (§2.3).
RAW, LOSSLESS, FIDELITY, BOUNDED, INT8, INT4, CALIBRATED, MAPPED = range(8)
HIGHEST_DTYPE = {RAW: 11, LOSSLESS: 4, FIDELITY: 2, BOUNDED: 2, INT8: 2, INT4: 2, CALIBRATED: 2, MAPPED: 2}
NEEDS_BASIS, NEEDS_PREVIOUS = 1, 2
FLAGS = {RAW: 0, LOSSLESS: NEEDS_PREVIOUS, FIDELITY: NEEDS_BASIS | NEEDS_PREVIOUS, BOUNDED: NEEDS_PREVIOUS,
         INT8: 0, INT4: 0, CALIBRATED: NEEDS_BASIS | NEEDS_PREVIOUS, MAPPED: NEEDS_BASIS}


def read_frame(data, max_bytes, max_channels):
    """The fields of a frame, checked in the order of §2.9 up to the checksum."""
    r, f = Reader(data), Fields()
    need(r.take(4) == b"PNF1", "no frame begins so")
    version, f.mode, f.dtype, flags = r.take(4)
    need(version == 1, "version", Unsupported)
    need(f.mode in HIGHEST_DTYPE, "mode", Unsupported)
    within(f.dtype, 0, HIGHEST_DTYPE[f.mode])
    need(flags & ~FLAGS[f.mode] == 0, "flags")
    f.shape = [r.varint(0, 2**31 - 1) for _ in range(r.number(1, 0, 8))]
    need(math.prod(filter(None, f.shape)) < 2**48, "too many elements")
    f.channels, f.rows = f.shape[-1] if f.shape else 1, math.prod(f.shape[:-1])
    f.elements, f.element_bytes = f.channels * f.rows, DTYPES[f.dtype][1]
    need(f.elements * f.element_bytes <= max_bytes and f.channels <= max_channels, "limits", TooLarge)
    body_bytes = r.varint(0, 2**48 - 1)
    f.basis_id = r.take(16) if flags & NEEDS_BASIS else None
    f.previous_checksum = r.number(4) if flags & NEEDS_PREVIOUS else None
    f.body = Reader(r.take(body_bytes))
    f.checksum = r.number(4)
    r.end()
    if f.elements == 0:
        need(f.mode not in (FIDELITY, MAPPED) and body_bytes == 0, "a tensor without elements")
        need(f.mode == CALIBRATED or f.previous_checksum is None, "nothing predicts nothing")
    check_checksum(data)
    return f


class Decoder:
    """Decodes the frames of one stream, given the assets by their ids (read_basis, read_calibration)."""

    def __init__(self, bases, calibrations, max_bytes=2**32, max_channels=2**20):
        self.assets = {FIDELITY: bases, CALIBRATED: calibrations}
        self.limits = max_bytes, max_channels
        # Of the last frame of each mode that has states.
        self.states = {mode: None for mode, flags in FLAGS.items() if flags & NEEDS_PREVIOUS}

    def decode(self, data, latents=(), latents_before=()):
        """The frame's fields, with `tensor`, its bytes. Latents [rows, latents] are the context of §12, §14."""
        f = read_frame(data, *self.limits)
        if f.elements == 0:
            f.tensor = b""
            if f.mode == CALIBRATED:
                self.states[CALIBRATED] = None
        elif f.mode == RAW:  # §3
            f.tensor = f.body.take(f.elements * f.element_bytes)
            f.body.end()
        elif f.mode in (INT8, INT4):
            f.tensor = exact.decode_int8(f) if f.mode == INT8 else exact.decode_int4(f)
        elif f.mode in (LOSSLESS, BOUNDED):
            self.decode_exactly(f)
        elif f.mode == MAPPED:
            self.decode_mapped(f, latents)
        else:
            self.decode_with_asset(f, latents, latents_before)
        return f

    def previous(self, f, *same):
        """The state that the frame predicts from, None in a key frame (§2.7). `same` may not differ."""
        if f.previous_checksum is None:
            return None
        state = self.states[f.mode]
        need(state and state.checksum == f.previous_checksum, "the previous frame is not here", NotFound)
        for name in same:
            need(getattr(state, name) == getattr(f, name), f"the previous frame has another {name}")
        return state

    def decode_exactly(self, f):
        state = self.previous(f, "dtype", "rows", "channels")
        decode = exact.decode_lossless if f.mode == LOSSLESS else exact.decode_bounded
        f.tensor = decode(f, state.tensor if state else None)
        self.states[f.mode] = f  # §5.3, §9.3. Only now: a refused frame leaves no trace

    def decode_mapped(self, f, latents):  # §14
        need(len(latents) > 0, "there are no latents", Unsupported)
        need(f.basis_id is not None, "mode 7 needs a map")
        need(f.basis_id in self.assets[FIDELITY], "the map is not here", NotFound)
        the_map = self.assets[FIDELITY][f.basis_id]
        need(the_map.channels == f.channels, "the map has other channels")
        need(len(latents) == f.rows and len(latents[0]) == the_map.components, "latents of other rows")
        try:
            inner = read_frame(f.body.data, f.elements * 4, f.channels)
        except Refused as refusal:
            raise Refused(f"the frame within: {refusal}") from refusal  # whatever its code
        need((inner.mode, inner.dtype, inner.shape) == (FIDELITY, 0, f.shape), "another kind of frame within")
        self.decode_with_asset(inner, (), ())
        values, at = list(values_of(0, inner.tensor)), 0
        for x in latents:
            of_row = zip(mapped(x, the_map.B), values[at:at + f.channels])
            values[at:at + f.channels] = binary32(m + z for m, z in of_row)
            at += f.channels
        f.tensor = rounded(bounded(values, f.dtype), f.dtype)

    def decode_with_asset(self, f, latents, latents_before):
        assets, asset = self.assets[f.mode], None
        if f.basis_id is not None:
            need(f.basis_id in assets, "the basis is not here", NotFound)
            asset = assets[f.basis_id]
            need(asset.channels == f.channels, "the basis has other channels")
        else:
            need(f.mode == FIDELITY, "mode 6 needs a calibration")
        state = self.previous(f, "basis_id", "rows", "channels")
        if f.mode == FIDELITY:
            new, values = decode_fidelity(f, asset, state)
        else:
            new, values = calibrated.decode_calibrated(f, asset, state, latents, latents_before)
        new.checksum, new.basis_id, new.rows, new.channels = f.checksum, f.basis_id, f.rows, f.channels
        self.states[f.mode] = new
        f.tensor = rounded(bounded(values, f.dtype), f.dtype)


# §14 What the map makes of a row's latents, as every decoder sums it.
def mapped(latents, rows):
    sums = [0.0] * len(rows[0])
    for first in range(0, len(latents), 256):
        run = [0.0] * len(sums)
        for x, row in zip(latents[first:first + 256], rows[first:first + 256]):
            run = binary32(fused(x, b, t) for b, t in zip(row, run))
        sums = binary32(s + t for s, t in zip(sums, run))
    return sums


def fused(a, b, c):
    """a·b + c of numbers in binary32, which rounds to binary32 as the exact sum does."""
    product = a * b  # exact, in 48 bits
    total = product + c
    if not math.isfinite(total):
        return total
    others = total - product
    error = (product - (total - others)) + (c - others)
    is_odd = struct.unpack("<Q", struct.pack("<d", total))[0] & 1
    return total if error == 0 or is_odd else math.nextafter(total, math.copysign(math.inf, error))


# §6.1 Body, and §6.4 Prediction and state. All of it is integers: two decoders never drift apart.
def decode_fidelity(f, basis, state):
    body, new = f.body, Fields(older=state.s if state else [])
    new.step, = body.floats(1)
    need(2**-126 <= new.step < math.inf, "step")
    new.mean_shift = body.number(1, 0, 8)
    references = body.number(1, 1, 2 if state.older else 1) if state else 0
    ratios = [body.varint(1, 2**20) for _ in range(references)] + [0, 0]
    components = body.varint(0, basis.components if basis else f.channels)
    bands = body.number(1, 1, 8)
    parameters = Reader(body.take(body.varint()))
    bits = BitReader(parameters)
    mean_class = read_class(bits)
    mean_coefficient = bits.bits(8) if references > 0 else 0
    band_class = read_class(bits) if bands > 1 else None
    p = read_component_parameters(bits, components, bands, state, references, in_frame=True)
    bits.end()
    parameters.end()
    band_of = [0] * f.rows
    if bands > 1:
        band_of = read_map(body, band_class, [1] * f.rows, bands)
    q, mean_q = read_grid(body, p.classes, band_of, mean_class, f.channels)

    old_means, older = (state.means, state.older) if state else ([0] * f.channels, [])
    # Coefficients are in units of 2^−6, ratios of 2^−16; the steps of means differ by their shifts too.
    S = 22 - new.mean_shift + (state.mean_shift if state else 0)
    new.means = [(mean_coefficient * ratios[0] * m + (1 << S - 1) >> S) + 16 * v
                 for m, v in zip(old_means, mean_q)]
    new.scales, new.s, nothing = p.scales, [], [0] * f.rows
    for k in range(components):
        a, b = p.predictors[p.predictor_of[k]] if references > 0 else (0, 0)
        last = new.older[k] if k < len(new.older) else nothing
        second = older[k] if k < len(older) else nothing
        # Small residuals are likelier than large ones, so the middle of what rounds to one is nearer to 0.
        offsets = [(0, *p.offsets.get(scale, (0, 0))) for _, scale in p.classes[k]]
        row = []
        for r in range(f.rows):
            predicted = a * ratios[0] * last[r] + b * ratios[1] * second[r] + 2**21 >> 22
            offset = offsets[band_of[r]][min(abs(q[k][r]), 2)] if offsets else 0
            row.append(predicted + 16 * q[k][r] - (offset if q[k][r] > 0 else -offset))
        new.s.append(row)
    need(all(abs(v) < 2**30 for row in [new.means, *new.s] for v in row), "the state overflows")
    return new, reconstruct(new, basis, f.rows, f.channels)


# §6.5 Reconstruction, rows in order.
def reconstruct(state, basis, rows, channels):
    unit, mean_unit = state.step / 16, state.step / 2**state.mean_shift / 16
    means = [m * mean_unit for m in state.means]
    for r in range(rows):
        y = list(means)
        for k, s in enumerate(state.s):
            if not basis:
                y[k] += s[r] * unit
            elif s[r] != 0:
                y = [v + s[r] * unit * b for v, b in zip(y, basis.B[k])]
        yield from y


# §7 The basis asset.
MOST_COEFFICIENTS = 2**26


def asset_id(data):
    return hashlib.sha256(data).digest()[:16]


def read_basis(data, coefficients_held=0):
    r, basis = Reader(data[:-4]), Fields()
    need(r.take(4) == b"PNB1", "no basis begins so")
    need(r.number(1) == 1, "version of a basis", Unsupported)
    check_checksum(data)
    basis.channels = r.varint(1, 2**31 - 1)
    basis.components = r.varint(1, basis.channels)
    need(coefficients_held + basis.channels * basis.components <= MOST_COEFFICIENTS, "bases", TooLarge)
    head = Reader(r.take(r.varint()))
    bits = BitReader(head)
    exponents = read_differences(bits, basis.components, 24)
    classes = read_component_parameters(bits, basis.components).classes
    bits.end()
    head.end()
    v, _ = read_grid(r, classes, [0] * basis.channels)
    basis.B = [[b * 2.0**-e for b in binary32(row)] for row, e in zip(v, exponents)]
    return basis


# §8 The `.pnf` file.
def utf8(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("a name is not UTF-8") from None


class Container:
    """The assets of a file by their ids, and its frames: (stream, name, bytes)."""

    def __init__(self, data):
        self.bases, self.calibrations, self.frames = {}, {}, []
        r = Reader(data)
        need(r.take(4) == b"PNFC", "no .pnf file begins so")
        need(r.number(1) == 1, "version of a file", Unsupported)
        check_checksum(data)
        while kind := r.number(1, 0, 3):
            if kind == 2:
                stream, name = r.varint(), r.take(r.varint(1, 4096))
                self.frames.append((stream, utf8(name), r.take(r.varint())))
            else:
                self.add_asset(kind, r.take(r.varint()))
        r.take(4)  # the checksum
        r.end()

    def add_asset(self, kind, data):
        name = asset_id(data)
        if kind == 3:
            self.calibrations[name] = calibrated.read_calibration(data)
        elif name not in self.bases:
            held = sum(basis.channels * basis.components for basis in self.bases.values())
            self.bases[name] = read_basis(data, held)

    def decode(self):
        """Gives (stream, name, frame or refusal) for each frame, in file order."""
        decoders = {}
        for stream, name, data in self.frames:
            decoder = decoders.setdefault(stream, Decoder(self.bases, self.calibrations))
            try:
                yield stream, name, decoder.decode(data)
            except Refused as refusal:
                yield stream, name, refusal


# The program. Its lines say what a tensor holds: smallest, largest and mean value, and standard deviation.
def describe(f):
    finite = [v for v in values_of(f.dtype, f.tensor) if math.isfinite(v)]
    text = f"mode {f.mode}  {DTYPES[f.dtype][0]} {f.shape}"
    if not finite:
        return text
    mean = math.fsum(v / len(finite) for v in finite)
    deviation = math.hypot(*(v - mean for v in finite)) / math.sqrt(len(finite))
    return f"{text}  {min(finite):.6g} to {max(finite):.6g}, mean {mean:.6g}, deviation {deviation:.6g}"


def write_safetensors(path, tensors):
    """Length of the header as u64, header in JSON, bytes. `tensors` are frames by name."""
    header, at = {}, 0
    for name, f in tensors.items():
        header[name] = {"dtype": DTYPES[f.dtype][0], "shape": f.shape,
                        "data_offsets": [at, at + len(f.tensor)]}
        at += len(f.tensor)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(f.tensor for f in tensors.values())


def main():
    parser = argparse.ArgumentParser(description="Lists the tensors of a .pnf file.")
    parser.add_argument("file")
    parser.add_argument("--out", metavar="FILE.safetensors", help="write them, as STREAM.NUMBER.NAME")
    options = parser.parse_args()
    tensors, refused = {}, False
    try:
        with open(options.file, "rb") as file:
            container = Container(file.read())
    except (OSError, Refused) as problem:
        sys.exit(f"{options.file}: {getattr(problem, 'code', 'not read')}: {problem}")
    for i, (stream, name, f) in enumerate(container.decode()):
        if isinstance(f, Refused):
            refused = True
            print(f"{stream}.{i}.{name}  {f.code}: {f}")
        else:
            tensors[f"{stream}.{i}.{name}"] = f
            print(f"{stream}.{i}.{name}  {describe(f)}")
    if options.out:
        write_safetensors(options.out, tensors)
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
