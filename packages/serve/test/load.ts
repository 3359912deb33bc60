/** Sends short requests from 32 workers: whole, streamed, cancelled in the middle, and wrong ones in turn. */
export async function sendRequests(url: string, count: number): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const outcome = await sendOne(url, i);
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return outcomes;
}

async function sendOne(url: string, i: number): Promise<string> {
  const kind = ["whole", "streamed", "cancelled", "wrong"][i % 4] ?? "whole";
  const controller = new AbortController();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: kind === "wrong" ? 5 : `p${i}`, max_tokens: 4, stream: kind !== "whole" }),
    signal: controller.signal,
  });
  if (kind === "cancelled") {
    await response.body?.getReader().read();
    controller.abort();
    return kind;
  }
  const text = await response.text();
  if (kind === "streamed" && !text.endsWith("data: [DONE]\n\n")) return "cut off";
  return response.status === (kind === "wrong" ? 400 : 200) ? kind : `status ${response.status}`;
}
