"""docs/educational_decoder.py, which was written from docs/format.md alone, decodes the golden files, and
refuses damaged ones with the codes of the document."""

import hashlib
import itertools
import json
import math
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
from fractions import Fraction
from types import SimpleNamespace
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "docs/educational_decoder.py"
FRAMES = ROOT / "tests/golden/frames"
MAPPED = ROOT / "tests/golden/mapped"
CALIBRATED = [ROOT / "tests/golden" / name for name in ("calibrated", "calibrated_grid", "calibrated_low", "calibrated_response")]
sys.dont_write_bytecode = True
sys.path.insert(0, str(PROGRAM.parent))

import educational_calibrated as calibrated
import educational_coding as coding
import educational_decoder as educational

CODES = {"bad_format", "unsupported", "too_large", "not_found"}
# Damaged sizes must not make the test slow.
LIMITS = {"max_bytes": 1 << 13, "max_channels": 1 << 8}
COEFFICIENTS_LEFT = 100
# Wrong bits of a frame or asset, and three times as many other damages, see damaged(). Fewer of large ones:
# they take as much longer, and their content is alike.
MOST_DAMAGES, DAMAGED_BYTES = 250, 60_000


def read_safetensors(path):
    """Name to (dtype, shape, bytes)."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:8 + size])
    entries.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[8 + size:][slice(*entry["data_offsets"])])
            for name, entry in entries.items()}


def numbers(dtype, data):
    """The values of a tensor of the named type."""
    return coding.values_of([name for name, _ in coding.DTYPES].index(dtype), data)


def bounded_and_rounded(values, dtype):
    return coding.rounded(coding.bounded(values, dtype), dtype)


def latents_of_steps(folder):
    stored = read_safetensors(folder / "latents.safetensors")
    steps = []
    for name in sorted(stored):
        _, (rows, columns), data = stored[name]
        values = struct.unpack(f"<{rows * columns}f", data)
        steps.append([list(values[r * columns:(r + 1) * columns]) for r in range(rows)])
    return steps


def contexts(folder):
    """(latents, latents before) of each golden calibrated frame."""
    steps = latents_of_steps(folder)
    return list(zip(steps, [()] + steps))


def with_sign(rows, sign):
    return [[sign * abs(v) for v in row] for row in rows]


def with_sizes(integers, asset):
    """The same, with numbers whose terms cannot cancel: sizes, and with a minus what is subtracted."""
    subtracted = ("LATENT_MEAN", "CHANGE_MEAN")
    record = {name: rows if name in calibrated.LEVELS else with_sign(rows, -1 if name in subtracted else 1)
              for name, rows in vars(integers.record).items()}
    changed = {"record": SimpleNamespace(**record), "delta_sigma": abs(integers.delta_sigma),
               "indices": with_sign(integers.indices, 1)}
    if integers.low:
        changed["low"] = SimpleNamespace(**{**vars(integers.low), "indices": with_sign(integers.low.indices, 1)})
    reconstruction = with_sign(asset.RECONSTRUCTION, 1)
    return (SimpleNamespace(**{**vars(integers), **changed}),
            SimpleNamespace(**{**vars(asset), "RECONSTRUCTION": reconstruction}))


def basis_of(file):
    """The asset of a file whose first record is a basis."""
    r = coding.Reader(file)
    r.take(5)
    assert r.number(1) == 1
    return r.take(r.varint())


def sealed(data):
    """With a right checksum, so that damage gets past it."""
    return data[:-4] + struct.pack("<I", coding.crc32c(data[:-4]))


def damaged(data, seed, most=MOST_DAMAGES):
    """Copies with one wrong bit, and beginnings; half of each with a right checksum."""
    dice = random.Random(seed)
    for _ in range(min(most, DAMAGED_BYTES // len(data))):
        bit = dice.randrange(8 * len(data))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        flipped, beginning = bytes(flipped), data[:dice.randrange(len(data))]
        yield from (flipped, sealed(flipped), beginning, sealed(beginning))


class EducationalDecoder(unittest.TestCase):
    def assert_between(self, dtype, data, values, tolerances):
        """Each element of `data` is what some number within the tolerance of the value rounds to."""
        types = {"F32": coding.F32, "F16": coding.F16, "BF16": coding.BF16}
        low = bounded_and_rounded([v - t for v, t in zip(values, tolerances)], types[dtype])
        high = bounded_and_rounded([v + t for v, t in zip(values, tolerances)], types[dtype])
        bounds = zip(numbers(dtype, low), numbers(dtype, data), numbers(dtype, high), strict=True)
        for at, (least, value, most) in enumerate(bounds):
            self.assertTrue(least <= value <= most, f"element {at}: {value} is not in {least} to {most}")

    def assert_refused_or_whole(self, attempt, what):
        """`attempt` may refuse, or give a frame whose tensor has the bytes of its shape. Returns the code."""
        try:
            f = attempt()
        except coding.Refused as refusal:
            self.assertIn(refusal.code, CODES)
            return refusal.code
        if f is not None:
            self.assertEqual(len(f.tensor), math.prod(f.shape) * coding.DTYPES[f.dtype][1], what)
        return None

    def test_tables_are_those_of_the_document(self):
        frequencies = [f for shape, base in enumerate(coding.BASE) for scale in range(1, base + 1)
                       for f in coding.table_of(shape, scale).f]
        self.assertEqual(sum(coding.BASE), 87)
        self.assertEqual(coding.crc32c(struct.pack(f"<{len(frequencies)}H", *frequencies)), 0x724C64D9)

    def test_rounding_is_to_nearest_even_and_bounded(self):
        tie, infinity = 2**-8, math.inf
        for dtype, values, bounded, unbounded in (
            (coding.BF16, [1 + tie, 1 + 3 * tie, -1 - tie, 1e39, -infinity, math.nan],
             "803f 823f 80bf 7f7f 7fff 0000", "803f 823f 80bf 807f 80ff c07f"),
            (coding.F16, [1 + tie / 8, 1 + 3 * tie / 8, 65519, 65520, -infinity],
             "003c 023c ff7b ff7b fffb", "003c 023c ff7b 007c 00fc"),
            (coding.F32, [1 + 2**-24, infinity, -0.0],
             "0000803f ffff7f7f 00000080", "0000803f 0000807f 00000080"),
        ):
            self.assertEqual(bounded_and_rounded(values, dtype), bytes.fromhex(bounded))
            self.assertEqual(coding.rounded(values, dtype), bytes.fromhex(unbounded))

    def test_a_chunk_ends_where_its_encoder_began(self):
        coding.Chunk(struct.pack("<II", 2**16, 2**16), 2).end()
        for states, words in ((b"\0\0\1\0\1\0\1\0", b""), (b"\0\0\1\0\0\0\1\0", b"\0\0")):
            with self.assertRaises(coding.Refused):
                coding.Chunk(states + words, 2).end()

    def test_records_blend_and_levels_become_scales(self):
        first = SimpleNamespace(MEAN=[[0.0, 8.0]], LATENTS_LEVELS=[0, 9], HISTORY_LEVELS=[])
        second = SimpleNamespace(MEAN=[[256.0, 8.0]], LATENTS_LEVELS=[255, 10], HISTORY_LEVELS=[])
        for position, mean, levels in ((0, 0, [0, 9]), (127, 127, [127, 9]), (128, 128, [128, 10]),
                                       (256, 256, [255, 10])):
            record = calibrated.record_at([first, second], position)
            self.assertEqual((record.MEAN, record.LATENTS_LEVELS), ([[mean, 8.0]], levels))
        for arguments, scale in (((128, 0, 0, 3), 13), ((128, -4, 0, 3), 13), ((128, -5, 0, 3), 14),
                                 ((128, 0, -20, 3), 0), ((129, 0, 3, 3), 17), ((255, -2048, 0, 1), 87)):
            self.assertEqual(calibrated.scale_of(*arguments), scale, arguments)

    def test_exact_modes_decode_to_the_same_bits(self):
        lines = []
        for path in FRAMES.glob("*.pnf"):
            if path.name.startswith("fidelity"):
                continue
            for i, (_, _, f) in enumerate(educational.Container(path.read_bytes()).decode()):
                digest = hashlib.sha256(f.tensor).hexdigest()
                lines.append((f"{path.stem}.{i} {coding.DTYPES[f.dtype][0]} {f.shape}", digest))
        text = "".join(f"{digest}  {what}\n" for what, digest in sorted(lines))
        self.assertEqual(text, (FRAMES / "decoded.sha256").read_text())

    def test_fidelity_decodes_within_its_tolerance(self):
        paths = list(FRAMES.glob("fidelity*.pnf"))
        self.assertGreater(len(paths), 5)
        for path in paths:
            expected = read_safetensors(path.with_suffix(".safetensors"))
            container = educational.Container(path.read_bytes())
            decoder = educational.Decoder(container.bases, {})
            for i, (_, _, data) in enumerate(container.frames):
                f = decoder.decode(data)
                dtype, shape, kept = expected[str(i)]
                self.assertEqual((dtype, shape), (coding.DTYPES[f.dtype][0], f.shape))
                values, tolerances = self.sums_of(decoder.states[educational.FIDELITY],
                                                  container.bases.get(f.basis_id))
                with self.subTest(path=path.name, frame=i):
                    self.assert_between(dtype, kept, values, tolerances)
                    self.assert_between(dtype, f.tensor, values, [0] * len(values))

    def sums_of(self, state, basis):
        """y and the tolerance of §6.5, for each element."""
        values, tolerances = [], []
        for r, c in itertools.product(range(state.rows), range(state.channels)):
            terms = [s[r] * state.step / 16 * (basis.B[k][c] if basis else k == c)
                     for k, s in enumerate(state.s)]
            terms.append(state.means[c] * state.step / 2**state.mean_shift / 16)
            values.append(math.fsum(terms))
            tolerances.append((len(state.s) + 4) * 2**-23 * math.fsum(map(abs, terms)))
        return values, tolerances

    def test_calibrated_decodes_to_the_rounding_of_binary32(self):
        for folder in CALIBRATED:
            self.assert_calibrated_stream(folder)

    def assert_calibrated_stream(self, folder):
        asset, decoder = self.calibrated_stream(folder)
        expected = read_safetensors(folder / "decoded.safetensors")
        self.assertEqual(len(contexts(folder)), len(expected))
        sizes_before = [[] for _ in contexts(folder)[0][0]]
        for i, (latents, before) in enumerate(contexts(folder)):
            data = (folder / f"frame{i}.bin").read_bytes()
            state = decoder.states[educational.CALIBRATED]
            f = decoder.decode(data, latents, before)
            dtype, shape, kept = expected[str(i)]
            self.assertEqual((dtype, shape), (coding.DTYPES[f.dtype][0], f.shape))
            integers = calibrated.read_body(educational.read_frame(data, **LIMITS), asset, state)
            _, values = calibrated.reconstruct(integers, asset, state.y if state else None, latents, before)
            # The same sums over the sizes of their terms. In binary32 each term is rounded at most so often.
            wave = calibrated.wave
            with mock.patch.object(calibrated, "wave", lambda *of: abs(wave(*of))):
                sizes_before, sizes = calibrated.reconstruct(
                    *with_sizes(integers, asset), sizes_before, with_sign(latents, 1), with_sign(before, -1))
            of_transform = 2 * (8 + 3) if integers.grid or integers.low else 0
            roundings = ((i + 1) * (asset.components + 2 * asset.latents + 10 + of_transform)
                         + asset.components + asset.latents + 4)
            self.assert_between(dtype, kept, values, [roundings * 2**-24 * size for size in sizes])
            self.assert_between(dtype, f.tensor, values, [0] * len(values))

    def mapped_stream(self):
        """(decoder, [(data, latents)])"""
        container = educational.Container((MAPPED / "stream.pnf").read_bytes())
        decoder = educational.Decoder(container.bases, {}, **LIMITS)
        return decoder, [(data, latents) for (_, _, data), latents in zip(container.frames, latents_of_steps(MAPPED))]

    def test_mapped_decodes_to_the_rounding_of_binary32(self):
        decoder, frames = self.mapped_stream()
        expected = read_safetensors(MAPPED / "decoded.safetensors")
        self.assertEqual(len(frames), len(expected))
        for i, (data, latents) in enumerate(frames):
            f = decoder.decode(data, latents)
            dtype, shape, kept = expected[str(i)]
            self.assertEqual((dtype, shape, f.mode), (coding.DTYPES[f.dtype][0], f.shape, educational.MAPPED))
            one = 2.0**-7 if dtype == "BF16" else 0
            for a, b in zip(numbers(dtype, kept), numbers(dtype, f.tensor), strict=True):
                self.assertLessEqual(abs(a - b), abs(a) * one + 1e-5)

    def test_fused_sums_are_rounded_once(self):
        dice = random.Random(5)
        for _ in range(3000):
            a, b, c = coding.binary32(dice.choice((1, -1)) * (1 + dice.choice((dice.random(), 2**-23)))
                                      * 2.0**dice.randrange(-40, 2) for _ in range(3))
            exact = Fraction(a) * Fraction(b) + Fraction(c)
            found, = coding.binary32([educational.fused(a, b, c)])
            below, above = (coding.binary32([found + sign * abs(found) * 2**-23])[0] for sign in (-1, 1))
            error = abs(Fraction(found) - exact)
            self.assertTrue(all(error <= abs(Fraction(other) - exact) for other in (below, above)))

    def test_a_map_sums_in_runs(self):
        small = [2.0**-24]  # two of them count where they are added before they meet 1
        first = [[1.0]] + [small] * 2 + [[0.0]] * 253
        self.assertEqual(list(educational.mapped([1.0] * 258, first + [small] * 2)), [1 + 2.0**-23])

    def test_what_is_wrong_with_an_inner_frame_is_a_bad_body(self):
        decoder, [(data, latents), *_] = self.mapped_stream()
        inner = educational.read_frame(data, **LIMITS).body.data
        at = data.index(inner)
        for broken in (inner[:4] + b"\x02" + inner[5:], inner[:5] + b"\x63" + inner[6:], inner[:-1] + b"\0"):
            with self.assertRaises(coding.Refused) as refusal:
                decoder.decode(sealed(data[:at] + broken + data[at + len(inner):]), latents)
            self.assertEqual(refusal.exception.code, "bad_format")

    def calibrated_stream(self, folder):
        data = (folder / "asset.pnc").read_bytes()
        asset = calibrated.read_calibration(data)
        return asset, educational.Decoder({}, {educational.asset_id(data): asset}, **LIMITS)

    def test_damaged_frames_are_refused_or_whole(self):
        codes = set()
        for path in sorted(FRAMES.glob("*.pnf")):
            container = educational.Container(path.read_bytes())
            decoder = educational.Decoder(container.bases, {}, **LIMITS)
            for i, (_, _, data) in enumerate(container.frames):
                codes |= self.damage(decoder, data, (), (), f"{path.name}.{i}")
        for folder in CALIBRATED:
            _, decoder = self.calibrated_stream(folder)
            for i, (latents, before) in enumerate(contexts(folder)):
                data = (folder / f"frame{i}.bin").read_bytes()
                codes |= self.damage(decoder, data, latents, before, f"{folder.name}.{i}")
        decoder, frames = self.mapped_stream()
        for i, (data, latents) in enumerate(frames):
            codes |= self.damage(decoder, data, latents, (), f"{MAPPED.name}.{i}")
        self.assertEqual(codes, CODES | {None})  # each refusal was met, and damage that makes another frame

    def damage(self, decoder, data, latents, before, what):
        """Tries damaged frames, then decodes the right one. Returns the codes that were met."""
        codes = set()
        for copy in damaged(data, what):
            states = dict(decoder.states)
            code = self.assert_refused_or_whole(lambda: decoder.decode(copy, latents, before), what)
            if code is not None:
                self.assertEqual(decoder.states, states, "a refused frame left a trace")
            else:
                self.assertEqual(copy, sealed(copy), "a frame with a wrong checksum was accepted")
            decoder.states = states
            codes.add(code)
        decoder.decode(data, latents, before)
        return codes

    def test_damaged_assets_are_refused_or_decode_their_frames(self):
        codes = set()

        def decode_with_basis(data):
            basis = educational.read_basis(data, educational.MOST_COEFFICIENTS - COEFFICIENTS_LEFT)
            return educational.Decoder({basis_id: basis}, {}, **LIMITS).decode(frame)

        for path in sorted(FRAMES.glob("fidelity_basis*.pnf")):
            file = path.read_bytes()
            (_, _, frame), *_ = educational.Container(file).frames
            basis_id = educational.read_frame(frame, **LIMITS).basis_id
            for copy in damaged(basis_of(file), path.name):
                codes.add(self.assert_refused_or_whole(lambda: decode_with_basis(copy), path.name))

        bands = CALIBRATED[0]
        latents, before = contexts(bands)[0]
        key_frame = (bands / "frame0.bin").read_bytes()
        calibration_id = educational.read_frame(key_frame, **LIMITS).basis_id

        def decode_with_calibration(data):
            asset = calibrated.read_calibration(data)
            decoder = educational.Decoder({}, {calibration_id: asset}, **LIMITS)
            return decoder.decode(key_frame, latents, before)

        for copy in damaged((bands / "asset.pnc").read_bytes(), "calibration"):
            codes.add(self.assert_refused_or_whole(lambda: decode_with_calibration(copy), "calibration"))
        self.assertGreaterEqual(codes, {"bad_format", "unsupported", "too_large", None})

    def test_damaged_files_are_refused_as_a_whole_or_frame_by_frame(self):
        for path in sorted(FRAMES.glob("*.pnf")):
            for copy in damaged(path.read_bytes(), path.name, 5):
                try:
                    frames = list(educational.Container(copy).decode())
                except coding.Refused as refusal:
                    self.assertIn(refusal.code, CODES)
                    continue
                for _, _, f in frames:
                    if isinstance(f, coding.Refused):
                        self.assertIn(f.code, CODES)

    def run_program(self, *arguments):
        return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True)

    def test_program_lists_and_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "out.safetensors"
            file = FRAMES / "lossless_F32.pnf"
            run = self.run_program(file, "--out", out)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertIn("0.0.x  mode 1  F32 [30, 20]  -6.22698 to 7.39566", run.stdout)
            written = read_safetensors(out)
            for i, (stream, name, f) in enumerate(educational.Container(file.read_bytes()).decode()):
                self.assertEqual(written[f"{stream}.{i}.{name}"], ("F32", f.shape, f.tensor))
            self.assertEqual(len(written), 3)

            broken = pathlib.Path(folder) / "broken.pnf"
            broken.write_bytes(file.read_bytes()[:-1])
            run = self.run_program(broken)
            self.assertEqual(run.returncode, 1)
            self.assertRegex(run.stderr, "bad_format: checksum\n$")


if __name__ == "__main__":
    unittest.main()
