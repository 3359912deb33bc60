import { type FileSource, missingFile, readJson, readRange } from "./file-source.js";
import { formatError } from "./format-error.js";
import { maxHeaderBytes, parseHeader, type SafetensorsHeader, type StoredTensor } from "./header.js";

/** The tensors of one file or of a set of shards: headers read and checked, data still on disk. */
export interface SafetensorsFiles {
  /** Every tensor by name, in the order of the files. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Raw little-endian bytes of one tensor. */
  read(name: string): Promise<Uint8Array>;
}

/**
 * Opens `BASE.safetensors`, or the shards that `BASE.safetensors.index.json` lists. Reads headers only.
 *
 * @param options.base  file name without ending; default "model"
 * @throws HeddleError "format" naming file, tensor and byte, for anything that breaks a rule of the format
 */
export async function openSafetensors(
  source: FileSource,
  { base = "model" }: { readonly base?: string } = {},
): Promise<SafetensorsFiles> {
  const names = source.list();
  const single = `${base}.safetensors`;
  const index = `${base}.safetensors.index.json`;
  if (names.includes(single)) return openOne(source, single);
  if (names.includes(index)) return openShards(source, index);
  throw missingFile(single, names);
}

/** Reads and checks the header of one file. */
export async function readHeader(source: FileSource, file: string): Promise<SafetensorsHeader> {
  const fileBytes = await source.size(file);
  if (fileBytes < 8) {
    throw formatError({ file, byte: fileBytes }, { rule: "a file must begin with 8 bytes of header length" });
  }
  const prefix = await readRange(source, { file, start: 0, end: 8 });
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) {
    const got = `header of ${length} bytes`;
    throw formatError({ file, byte: 0 }, { rule: `the header must be at most ${maxHeaderBytes} bytes`, got });
  }
  const end = 8 + Number(length);
  if (end > fileBytes) {
    const got = `header up to byte ${end}, file of ${fileBytes} bytes`;
    throw formatError({ file, byte: fileBytes }, { rule: "the header must lie inside its file", got });
  }
  return parseHeader(await readRange(source, { file, start: 8, end }), { file, fileBytes });
}

async function openOne(source: FileSource, file: string): Promise<SafetensorsFiles> {
  return reader(source, await readHeader(source, file));
}

async function openShards(source: FileSource, index: string): Promise<SafetensorsFiles> {
  const weightMap = parseIndex(await readJson(source, index), index);
  const tensors = new Map<string, StoredTensor>();
  const metadata: Record<string, string> = {};
  for (const file of new Set(weightMap.values())) {
    const header = await readHeader(source, file);
    Object.assign(metadata, header.metadata);
    for (const [tensor, stored] of header.tensors) {
      if (weightMap.get(tensor) !== file) {
        const got = `index places it in ${weightMap.get(tensor) ?? "no file"}`;
        throw formatError({ file, tensor, byte: stored.start }, { rule: "index and shards must agree", got });
      }
      tensors.set(tensor, stored);
    }
  }
  for (const [tensor, file] of weightMap) {
    if (!tensors.has(tensor)) {
      throw formatError(
        { file, tensor },
        { rule: "a shard must hold the tensors that its index places in it" },
      );
    }
  }
  return reader(source, { tensors, metadata });
}

/** Reads the shard of each tensor from an index, with file names that cannot leave the folder. */
function parseIndex(json: unknown, index: string): ReadonlyMap<string, string> {
  const map = typeof json === "object" && json !== null && "weight_map" in json ? json.weight_map : undefined;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw formatError({ file: index }, { rule: "an index must hold a weight_map object" });
  }
  const entries = Object.entries(map as Record<string, unknown>);
  return new Map(
    entries.map(([tensor, file]): [string, string] => {
      if (typeof file === "string" && /^[^/\\]+\.safetensors$/.test(file)) return [tensor, file];
      const got = `file ${JSON.stringify(file)?.slice(0, 80)}`;
      throw formatError(
        { file: index, tensor },
        { rule: "weight_map must name a file beside the index", got },
      );
    }),
  );
}

function reader(source: FileSource, { tensors, metadata }: SafetensorsHeader): SafetensorsFiles {
  return {
    tensors,
    metadata,
    read: async (name) => {
      const stored = tensors.get(name);
      if (stored === undefined) {
        const file = [...tensors.values()][0]?.file ?? "";
        throw formatError(
          { file, tensor: name },
          { rule: "the tensor must exist", cure: "Ask for one of `tensors`." },
        );
      }
      return readRange(source, { file: stored.file, start: stored.start, end: stored.end, tensor: name });
    },
  };
}
