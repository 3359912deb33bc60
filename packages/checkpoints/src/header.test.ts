import { HeddleError } from "@heddle/tensor";
import { expect, test } from "vitest";
import { parseHeader } from "./header.js";

function parse(json: string, dataBytes: number) {
  const bytes = new TextEncoder().encode(json);
  return parseHeader(bytes, { file: "x.safetensors", fileBytes: 8 + bytes.byteLength + dataBytes });
}

function errorOf(json: string, dataBytes: number): HeddleError {
  try {
    parse(json, dataBytes);
  } catch (error) {
    if (HeddleError.is(error)) return error;
    throw error;
  }
  throw new Error("the header was accepted");
}

const entry = (start: number, end: number, rest = `"dtype":"F32","shape":[${(end - start) / 4}]`) =>
  `{${rest},"data_offsets":[${start},${end}]}`;

test("tensors and metadata of a header", () => {
  const json = `{"__metadata__":{"format":"pt"},"a":${entry(0, 8)},"b":${entry(8, 12)}}  `;
  const { tensors, metadata } = parse(json, 12);
  expect(metadata).toEqual({ format: "pt" });
  expect([...tensors.keys()]).toEqual(["a", "b"]);
  const dataStart = 8 + json.length;
  expect(tensors.get("b")).toEqual({
    file: "x.safetensors",
    dtype: "F32",
    shape: [1],
    start: dataStart + 8,
    end: dataStart + 12,
  });
});

test("scalars and empty tensors are allowed", () => {
  const json = `{"s":${entry(0, 4, `"dtype":"F32","shape":[]`)},"e":${entry(4, 4, `"dtype":"F32","shape":[0,7]`)}}`;
  expect(parse(json, 4).tensors.size).toBe(2);
});

test("each broken rule is named, with file, tensor and byte", () => {
  const messages = {
    notJson: errorOf(`{"a":`, 0).message,
    array: errorOf("[1]", 0).message,
    repeated: errorOf(`{"a":${entry(0, 4)},"a":${entry(0, 4)}}`, 4).message,
    repeatedInside: errorOf(`{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 4)
      .message,
    notObject: errorOf(`{"a":[]}`, 0).message,
    dtype: errorOf(`{"a":${entry(0, 4, `"dtype":"F31","shape":[1]`)}}`, 4).message,
    shape: errorOf(`{"a":${entry(0, 4, `"dtype":"F32","shape":[-1]`)}}`, 4).message,
    offsets: errorOf(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4).message,
    size: errorOf(`{"a":${entry(0, 6, `"dtype":"F32","shape":[1]`)}}`, 6).message,
    outside: errorOf(`{"a":${entry(0, 8)}}`, 5).message,
    overlap: errorOf(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12).message,
    hole: errorOf(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12).message,
    trailing: errorOf(`{"a":${entry(0, 4)}}`, 6).message,
    metadata: errorOf(`{"__metadata__":{"step":1}}`, 0).message,
  };
  expect(messages).toMatchInlineSnapshot(`
    {
      "array": "safetensors: the header must begin with {; got file "x.safetensors", byte 8, first byte 91. The file is damaged or not a safetensors file: copy it again.",
      "dtype": "safetensors: the dtype must be one of BOOL U8 I8 F8_E5M2 F8_E4M3 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64; got file "x.safetensors", tensor "a", byte 8, dtype "F31". The file is damaged or not a safetensors file: copy it again.",
      "hole": "safetensors: no bytes may lie between tensors; got file "x.safetensors", tensor "b", byte 120, next at 124. The file is damaged or not a safetensors file: copy it again.",
      "metadata": "safetensors: __metadata__ must map names to strings; got file "x.safetensors", byte 8. The file is damaged or not a safetensors file: copy it again.",
      "notJson": "safetensors: the header must be JSON in UTF-8; got file "x.safetensors", byte 8, Unexpected end of JSON input. The file is damaged or not a safetensors file: copy it again.",
      "notObject": "safetensors: a tensor must be described by an object; got file "x.safetensors", tensor "a", byte 8. The file is damaged or not a safetensors file: copy it again.",
      "offsets": "safetensors: data_offsets must be two whole numbers >= 0; got file "x.safetensors", tensor "a", byte 8, data_offsets [0]. The file is damaged or not a safetensors file: copy it again.",
      "outside": "safetensors: a tensor must lie inside its file; got file "x.safetensors", tensor "a", byte 67, tensor bytes 62 to 70, file of 67 bytes. The file is damaged or not a safetensors file: copy it again.",
      "overlap": "safetensors: tensors must not overlap; got file "x.safetensors", tensor "b", byte 120, taken up to 124. The file is damaged or not a safetensors file: copy it again.",
      "repeated": "safetensors: a key must occur once in the header; got file "x.safetensors", tensor "a", byte 62. The file is damaged or not a safetensors file: copy it again.",
      "repeatedInside": "safetensors: a key must occur once in the header; got file "x.safetensors", tensor "dtype", byte 28. The file is damaged or not a safetensors file: copy it again.",
      "shape": "safetensors: the shape must be a list of whole numbers >= 0; got file "x.safetensors", tensor "a", byte 8, shape [-1]. The file is damaged or not a safetensors file: copy it again.",
      "size": "safetensors: a tensor must take shape x element bytes; got file "x.safetensors", tensor "a", byte 62, shape [1], dtype F32, data_offsets [0,6]. The file is damaged or not a safetensors file: copy it again.",
      "trailing": "safetensors: no bytes may follow the last tensor; got file "x.safetensors", byte 66, file of 68 bytes. The file is damaged or not a safetensors file: copy it again.",
    }
  `);
});

test("details hold the place as data", () => {
  const error = errorOf(`{"layer.weight":${entry(0, 8)}}`, 5);
  expect(error.code).toBe("format");
  expect(error.details).toMatchObject({ file: "x.safetensors", tensor: "layer.weight" });
  expect(error.details.byte).toBeGreaterThan(60);
});

test("a product of sizes beyond exact integers does not slip through", () => {
  const error = errorOf(`{"a":${entry(0, 4, `"dtype":"F32","shape":[4294967296,4294967296]`)}}`, 4);
  expect(error.message).toContain("a tensor must take shape x element bytes");
});
