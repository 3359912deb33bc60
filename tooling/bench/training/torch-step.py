"""One training step of GPT-2 blocks in PyTorch. Argument: shape as JSON. Answers each line on stdin with "milliseconds loss"."""
import json, math, sys, time
import torch
import torch.nn as nn
import torch.nn.functional as F

job = json.loads(sys.argv[1])
E, L, H, T, B, V = (job[k] for k in ("modelDim", "numLayers", "numHeads", "seqLen", "batchSize", "vocabSize"))
torch.set_num_threads(job["threads"])
torch.manual_seed(1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(E), nn.LayerNorm(E)
        self.qkv, self.proj = nn.Linear(E, 3 * E), nn.Linear(E, E)
        self.up, self.down = nn.Linear(E, 4 * E), nn.Linear(4 * E, E)

    def forward(self, x, mask):
        q, k, v = self.qkv(self.ln_1(x)).split(E, dim=2)
        q, k, v = (t.view(B, T, H, E // H).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(2, 3)) / math.sqrt(E // H)
        seen = scores.masked_fill(mask, float("-inf")).softmax(dim=-1) @ v
        x = x + self.proj(seen.transpose(1, 2).reshape(B, T, E))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, E), nn.Embedding(T, E)
        self.blocks, self.ln_f = nn.ModuleList(Block() for _ in range(L)), nn.LayerNorm(E)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        mask = torch.ones(T, T, dtype=torch.bool).triu(1)
        x = self.wte(ids) + self.wpe(torch.arange(T))
        for block in self.blocks:
            x = block(x, mask)
        return self.ln_f(x) @ self.wte.weight.T


model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
tokens = ((torch.arange(B * (T + 1)) * 7919) % V).view(B, T + 1)
blas = [line.strip() for line in torch.__config__.show().split("\n") if "BLAS" in line]
print(json.dumps({"name": f"PyTorch {torch.__version__}", "detail": "; ".join(blas)[:80]}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(model(tokens[:, :-1]).reshape(-1, V), tokens[:, 1:].reshape(-1))
    loss.backward()
    optimizer.step()
    print(1000 * (time.perf_counter() - start), loss.item(), flush=True)
