#!/usr/bin/env python3
"""Lossless coding of bf16 states on a GPU: `pinion codec --device` beside nvCOMP's coders, on the same bytes.

    pip install torch nvidia-nvcomp-cu13          # nvcomp-cu12 for CUDA 12
    python bench/nvcomp_ans.py --program build/release/pinion/cli/pinion

Tensors: `captured`, all states of tests/data/states, for nvCOMP and zstd as one run of bytes; `normal`, [4608, 4096], every channel of its own size, as
device_codec_bench makes them; `gaussian`, the same shape, N(0, 1) throughout, which DietGPU publishes 1.49x for. Ratio is
raw bytes over coded bytes; GB/s are of raw bytes, tensor and coded bytes in device memory, by the host's clock, median of
--runs (nvCOMP) or --copies (pinion codec). nvCOMP's results are checked bit for bit; `pinion codec bench` checks ours
(SNR is null). ANS <f2 is nvCOMP's mode for 16-bit floats; `upper bytes` codes each number's sign and upper exponent bits
and leaves the lower byte as it is, as coders for floats do. zstd -19 runs on the CPU, where there is a `zstd` program.
"""

import argparse
import ctypes
import json
import pathlib
import shutil
import statistics
import struct
import subprocess
import tempfile
import time

import torch

STATES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "states"
ROWS, CHANNELS = 4608, 4096
CODERS = {
    "ANS |u1": {"algorithm": "ANS"},
    "ANS <f2": {"algorithm": "ANS", "data_type": "<f2"},
    "Zstd": {"algorithm": "Zstd"},
    "GDeflate": {"algorithm": "GDeflate"},
    "Bitcomp": {"algorithm": "Bitcomp", "data_type": "<u2"},
}


def captured():
    """The bf16 states of the repository."""
    states = []
    for path in sorted(STATES.glob("*.safetensors")):
        content = path.read_bytes()
        begin = 8 + struct.unpack("<Q", content[:8])[0]
        for name, entry in sorted(json.loads(content[8:begin]).items()):
            if name != "__metadata__" and entry["dtype"] == "BF16":
                first, last = entry["data_offsets"]
                data = bytearray(content[begin + first : begin + last])
                states.append(torch.frombuffer(data, dtype=torch.bfloat16).reshape(-1, entry["shape"][-1]))
    return states


def made():
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn((ROWS, CHANNELS), generator=generator)
    sizes = torch.randn(CHANNELS, generator=generator).exp()
    return {"normal": [(normal * sizes).bfloat16()], "gaussian": [normal.bfloat16()]}


def bytes_of(tensors):
    return torch.cat([tensor.view(torch.uint8).flatten() for tensor in tensors])


def raw(tensors):
    joined = bytes_of(tensors)
    return bytes((ctypes.c_ubyte * joined.numel()).from_address(joined.data_ptr()))


def write_safetensors(path, tensors, copies):
    header, end = {}, 0
    for copy in range(copies):
        for i, tensor in enumerate(tensors):
            begin, end = end, end + tensor.nbytes
            header[f"{i}.copy{copy}"] = {
                "dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [begin, end],
            }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in range(copies):
            file.write(raw(tensors))


def median_seconds(call, runs):
    times = []
    for _ in range(runs + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def show(tensor_name, coder, size, coded, encode=None, decode=None):
    speeds = "".join(f"{size / seconds / 1e9:9.1f}" if seconds else f"{'':9}" for seconds in (encode, decode))
    print(f"{tensor_name:10} {coder:22} {size / coded:6.3f}x {speeds}", flush=True)


def run_nvcomp(nvcomp, name, tensors, runs):
    there = bytes_of(tensors).cuda()
    for coder, settings in CODERS.items():
        try:
            codec = nvcomp.Codec(execution_policy=nvcomp.ExecutionPolicy.LATENCY, **settings)
            source = nvcomp.as_array(there)
            config = codec.compression_config(there.numel())
            back_config = codec.decompression_config(config)
            coded = codec.encode(source, compression_config=config)
            back = codec.decode(coded, decompression_config=back_config)
            arrived = torch.as_tensor(back, device="cuda").view(torch.uint8).flatten()
            if not torch.equal(arrived, there):
                raise RuntimeError("came back changed")
            # Memory is there already and nothing waits for the host but the end.
            encode = median_seconds(lambda: codec.encode(source, out=coded, compression_config=config), runs)
            decode = median_seconds(lambda: codec.decode(coded, out=back, decompression_config=back_config), runs)
            show(name, "nvCOMP " + coder, there.numel(), coded.buffer_size, encode, decode)
        except (RuntimeError, ValueError, TypeError) as error:
            print(f"{name:10} nvCOMP {coder}: {error}")
    lower, upper = there.view(-1, 2).t().contiguous()
    coded = nvcomp.Codec(algorithm="ANS").encode(nvcomp.as_array(upper))
    show(name, "nvCOMP ANS upper bytes", there.numel(), coded.buffer_size + lower.numel())


def run_pinion(program, device, name, tensors, copies):
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        write_safetensors(file.name, tensors, copies)
        command = [program, "codec", "bench", file.name, "--mode", "lossless", "--device", device, "--json"]
        rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if any(row["snr_db"] is not None for row in rows):
        raise SystemExit("pinion's lossless tensors came back changed")
    frames, encode, decode = 0, 0.0, 0.0
    for i in range(len(tensors)):
        own = [row for row in rows if row["tensor"].split(".")[0] == str(i)]
        frames += own[0]["frame_bytes"]
        encode += statistics.median(row["encode_ms"] for row in own) / 1e3
        decode += statistics.median(row["decode_ms"] for row in own) / 1e3
    show(name, f"pinion lossless {device}", sum(tensor.nbytes for tensor in tensors), frames, encode, decode)


def run_zstd(name, tensors):
    plain = raw(tensors)
    done = subprocess.run(["zstd", "-19", "-q", "-c"], input=plain, check=True, capture_output=True)
    show(name, "zstd -19", len(plain), len(done.stdout))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="pinion, with its CUDA kernels; left out: no row of ours")
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu", help="of pinion")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--copies", type=int, default=9)
    arguments = parser.parse_args()
    try:
        from nvidia import nvcomp
    except ImportError:
        nvcomp = None
    if nvcomp is None or not torch.cuda.is_available():
        print("no nvCOMP or no CUDA device: rows of nvCOMP are left out")
    else:
        print(f"{torch.cuda.get_device_name()}, nvCOMP {nvcomp.__version__}")
    print(f"{'tensor':10} {'coder':22} {'ratio':>7} {'enc GB/s':>9}{'dec GB/s':>9}")
    for name, tensors in {"captured": captured(), **made()}.items():
        if nvcomp is not None and torch.cuda.is_available():
            run_nvcomp(nvcomp, name, tensors, arguments.runs)
        if arguments.program:
            run_pinion(arguments.program, arguments.device, name, tensors, arguments.copies)
        if shutil.which("zstd"):
            run_zstd(name, tensors)


if __name__ == "__main__":
    main()
