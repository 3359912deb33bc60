import { describe, expect, it } from "vitest";
import { byteTokenizer } from "../test/fake-model.js";
import { createTextStream } from "./stream.js";

function feed(text: string, stop: readonly string[] = []) {
  const stream = createTextStream(byteTokenizer.createDecoder([]), stop);
  const pieces = [...new TextEncoder().encode(text)].map((id) => stream.push(id));
  return { stream, pieces };
}

describe("createTextStream", () => {
  it("waits for whole characters", () => {
    const { pieces } = feed("a€b");
    expect(pieces.map((piece) => piece.text)).toEqual(["a", "", "", "€", "b"]);
  });

  it("holds back what may become a stop string, and releases it when it does not", () => {
    const { pieces, stream } = feed("one\n\ntwo\n", ["\n\nthree"]);
    expect(pieces.map((piece) => piece.text).join("|")).toBe("o|n|e||||\n\ntw|o|");
    expect(stream.flush()).toEqual({ text: "\n", stopped: false });
  });

  it("ends before the first stop string", () => {
    const { pieces } = feed("one two", ["two", " t"]);
    expect(pieces.find((piece) => piece.stopped)).toEqual({ text: "", stopped: true });
    expect(pieces.map((piece) => piece.text).join("")).toBe("one");
  });

  it("ends an incomplete character with a replacement", () => {
    const stream = createTextStream(byteTokenizer.createDecoder([]));
    expect(stream.push(0xe2).text).toBe("");
    expect(stream.flush()).toEqual({ text: "\ufffd", stopped: false });
  });
});
