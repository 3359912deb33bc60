"""Times PyTorch on this machine's card beside Heddle's programs: `python3 peers.py [matmul] [prefill] [decode]`.

Random weights in the Llama 3.2 1B shape (16 layers, 2048 wide, 32 / 8 heads of 64, 8192 in between, 128256 tokens, tied),
f16. `eager` is plain PyTorch; `compiled` is torch.compile with a static cache, replayed as a CUDA graph. Medians of 7 rounds.
"""

import sys
import time

import torch
import torch.nn.functional as F

LAYERS, WIDTH, HEADS, KV_HEADS, HEAD, FFN, VOCAB = 16, 2048, 32, 8, 64, 8192, 128256
device = torch.device("cuda")
dtype = torch.float16


def median_seconds(run, rounds=7):
    # Cards that waited take a while to raise their clocks.
    warm = time.perf_counter() + 1
    for i in range(1000):
        run()
        torch.cuda.synchronize()
        if i >= 2 and time.perf_counter() > warm:
            break
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[rounds // 2]


class Model(torch.nn.Module):
    """The decoder with its cache: rows [B, T] at positions from `start` on."""

    def __init__(self, batch, length):
        super().__init__()

        def weight(rows, columns):
            values = (torch.randn(rows, columns, device=device) * 0.02).to(dtype)
            return torch.nn.Parameter(values, requires_grad=False)

        def layers(rows, columns):
            return torch.nn.ParameterList([weight(rows, columns) for _ in range(LAYERS)])

        self.embedding = weight(VOCAB, WIDTH)
        self.qkv = layers((HEADS + 2 * KV_HEADS) * HEAD, WIDTH)
        self.out = layers(WIDTH, HEADS * HEAD)
        self.gate_up = layers(2 * FFN, WIDTH)
        self.down = layers(WIDTH, FFN)
        ones = [torch.ones(WIDTH, device=device, dtype=dtype) for _ in range(2 * LAYERS + 1)]
        self.norms = torch.nn.ParameterList([torch.nn.Parameter(one, requires_grad=False) for one in ones])
        shape = (LAYERS, batch, KV_HEADS, length, HEAD)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(shape, device=device, dtype=dtype))
            # Graph replays write into the cache where it lies.
            torch._dynamo.mark_static_address(getattr(self, name))
        inverse = 1 / 500000 ** (torch.arange(0, HEAD, 2, device=device).float() / HEAD)
        angles = torch.outer(torch.arange(length, device=device).float(), inverse)
        self.register_buffer("cos", torch.cat([angles.cos(), angles.cos()], -1).to(dtype))
        self.register_buffer("sin", torch.cat([angles.sin(), angles.sin()], -1).to(dtype))
        self.length = length

    def rotate(self, x, positions):
        a, b = x.chunk(2, -1)
        return x * self.cos[positions] + torch.cat([-b, a], -1) * self.sin[positions]

    def forward(self, tokens, positions):
        batch, rows = tokens.shape
        x = F.embedding(tokens, self.embedding)
        seen = torch.arange(self.length, device=device)[None, :] <= positions[:, None]
        for i in range(LAYERS):
            h = F.rms_norm(x, (WIDTH,), self.norms[2 * i], 1e-5)
            qkv = F.linear(h, self.qkv[i]).view(batch, rows, HEADS + 2 * KV_HEADS, HEAD).transpose(1, 2)
            q, k, v = qkv.split([HEADS, KV_HEADS, KV_HEADS], 1)
            q, k = self.rotate(q, positions), self.rotate(k, positions)
            if rows > 1:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                self.keys[i][:, :, :rows] = k
                self.values[i][:, :, :rows] = v
            else:
                self.keys[i].index_copy_(2, positions, k)
                self.values[i].index_copy_(2, positions, v)
                y = F.scaled_dot_product_attention(
                    q, self.keys[i], self.values[i], attn_mask=seen, enable_gqa=True
                )
            x = x + F.linear(y.transpose(1, 2).reshape(batch, rows, -1), self.out[i])
            h = F.rms_norm(x, (WIDTH,), self.norms[2 * i + 1], 1e-5)
            gate, up = F.linear(h, self.gate_up[i]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.down[i])
        logits = F.linear(F.rms_norm(x[:, -1], (WIDTH,), self.norms[-1], 1e-5), self.embedding)
        return logits.argmax(-1, keepdim=True)


@torch.inference_mode()
def matmul():
    for n in (1024, 4096, 8192):
        for kind in (torch.float16, torch.float32):
            if n == 8192 and kind == torch.float32:
                continue
            a, b = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
            times = max(4, int(2e12 / n**3))
            seconds = median_seconds(lambda: [torch.mm(a, b.T) for _ in range(times)]) / times
            print(f"cuBLAS {n} {kind}: {seconds * 1e6:.1f} us {2 * n**3 / seconds / 1e12:.0f} TFLOP/s", flush=True)


@torch.inference_mode()
def prefill():
    model = Model(1, 2048)
    tokens = torch.arange(2048, device=device)[None] % VOCAB
    positions = torch.arange(2048, device=device)
    for name, run in (("eager", model), ("compiled", torch.compile(model))):
        seconds = median_seconds(lambda: run(tokens, positions))
        print(f"PyTorch {name} prefill 2048: {2048 / seconds:.0f} tokens/s", flush=True)


@torch.inference_mode()
def decode():
    steps = 64
    for batch in (1, 32):
        model = Model(batch, 512)
        compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
        for name, run in (("eager", model), ("compiled", compiled)):
            token = torch.ones(batch, 1, device=device, dtype=torch.int64)
            positions = torch.arange(512, device=device)

            def generate():
                next_token = token
                for step in range(steps):
                    next_token = run(next_token, positions[256 + step : 257 + step]).clone()
                next_token.tolist()

            seconds = median_seconds(generate, 3 if name == "eager" else 7)
            rate = batch * steps / seconds
            print(f"PyTorch {name} decode, batch {batch}: {rate:.0f} tokens/s", flush=True)
        del model, compiled


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["matmul", "prefill", "decode"]
    print(torch.__version__, torch.cuda.get_device_name(0), flush=True)
    for work in (matmul, prefill, decode):
        if work.__name__ in wanted:
            try:
                work()
            except Exception as error:  # A peer that fails says so; the others still run.
                print(f"{work.__name__} fails: {type(error).__name__}: {str(error)[:400]}", flush=True)
