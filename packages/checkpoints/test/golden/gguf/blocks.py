"""Writes blocks.json: what ggml's own library does with random blocks and values. Needs numpy and libggml-base.so.

    python3 blocks.py PATH/TO/libggml-base.so
"""
import base64, ctypes, json, sys
import numpy as np

SEED = 20260101
TYPES = {"Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
         "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210),
         "IQ4_NL": (32, 18), "MXFP4": (32, 17)}
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "MXFP4": []}

library = ctypes.CDLL(sys.argv[1])
rng = np.random.default_rng(SEED)
text = lambda array: base64.b64encode(array.tobytes()).decode()


def call(name, source, target, count):
    function = getattr(library, name)
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function(source.ctypes.data, target.ctypes.data, count)
    return target


def random_blocks(name, blocks):
    data = rng.integers(0, 256, (blocks, TYPES[name][1]), dtype=np.uint8)
    for at in HALVES[name]:  # finite scales: infinities and NaNs say nothing
        data[:, at:at + 2] = rng.normal(0, 2.0, blocks).astype(np.float16).view(np.uint8).reshape(blocks, 2)
    for at in HALVES[name]:
        data[0, at:at + 2] = np.array([6e-8], dtype=np.float16).view(np.uint8)  # subnormal
    if name == "MXFP4":
        data[:3, 0] = [0, 1, 254]
    return data.ravel()


def values():
    rows = [rng.normal(0, s, 256) for s in (1e-3, 0.02, 1, 300)]
    rows += [np.zeros(256), np.full(256, 0.75), np.full(256, -3.0), np.abs(rng.normal(0, 1, 256)), -np.abs(rng.normal(0, 1, 256))]
    rows += [rng.integers(-8, 8, 256) / 4, rng.standard_cauchy(256), np.where(np.arange(256) < 96, 0, rng.normal(0, 1, 256))]
    rows += [np.where(np.arange(256) % 32 < 31, 0, 1e4), rng.normal(0, 1e-6, 256), rng.uniform(-1, 1, 256), np.linspace(-1, 1, 256)]
    return np.concatenate(rows).astype(np.float32)


x = values()
dequantized = {}
for name, (size, _) in TYPES.items():
    count = 512 if size == 256 else 192
    blocks = random_blocks(name, count // size)
    out = call(f"dequantize_row_{name.lower().replace('_k', '_K')}", blocks, np.empty(count, np.float32), count)
    dequantized[name] = {"count": count, "bytes": text(blocks), "values": text(out)}
quantized = {}
for name in ("Q8_0", "Q4_0", "Q4_K", "Q6_K"):
    size, width = TYPES[name]
    row = f"quantize_row_{name.lower().replace('_k', '_K')}_ref"
    quantized[name] = text(call(row, x, np.zeros(len(x) // size * width, np.uint8), len(x)))
json.dump({"generator": "blocks.py, numpy " + np.__version__ + ", libggml-base 0.5.0 (x86-64)", "seed": SEED,
           "tolerance": "none: equal to the bit", "dequantized": dequantized, "input": text(x), "quantized": quantized},
          open("blocks.json", "w"), indent=1)
