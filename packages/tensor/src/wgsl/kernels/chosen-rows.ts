import { type BufferUse, bufferAt, type StepParam } from "../step.js";
import { each } from "./team.js";

/** Rows of x of which each is multiplied with one matrix of a stack, shared among workgroups. */
export interface ChosenRows {
  /** Launch buffer of the choices: i32, one for each row. */
  readonly which: number;
  readonly rows: number;
  readonly numMatrices: number;
  /** Stretches of outputs that a matrix has: a workgroup makes one. */
  readonly tiles: number;
  readonly threads: number;
}

/** What a kernel does with them, as statements; `tile` and `thread` are known. */
interface RowWork {
  /** One thread stores zeros in the tile of a row that chose no matrix. */
  clear(row: string): string;
  /** All threads make the tile for `count` rows of `matrix`; they store row m where `isIn(m)` holds. Begins and ends in step. */
  product(count: number, row: (m: number) => string, isIn: (m: number) => string): string;
}

interface ChosenRowsText {
  readonly buffer: BufferUse;
  readonly params: Readonly<Record<string, StepParam>>;
  readonly groups: number;
  readonly declarations: string;
  body(work: RowWork): string;
}

/** Rows of a matrix that meet its numbers together. */
const together = 8;

/**
 * With no more rows than matrices a workgroup has one row and the matrix of its choice. With more it has one matrix, seeks the rows that chose
 * it, and lets eight of them at a time meet what it reads; matrices that nobody chose are not read.
 */
export function chosenRows({ which, rows, numMatrices, tiles, threads }: ChosenRows): ChosenRowsText {
  const common = {
    buffer: { name: "which", memory: bufferAt(which), dtype: "i32", access: "read" },
    params: { rows, numMatrices, tiles },
  } as const;
  if (rows <= numMatrices) {
    return {
      ...common,
      groups: rows * tiles,
      declarations: "",
      body: ({ clear, product }) => `  let tile = group % P.tiles;
  let row0 = group / P.tiles;
  let matrix = u32(load_which(row0));
  if (matrix >= P.numMatrices) {
    if (thread == 0u) { ${clear("row0")} }
    return;
  }
${product(
  1,
  () => "row0",
  () => "true",
)}`,
    };
  }
  return {
    ...common,
    groups: numMatrices * tiles,
    declarations: `var<workgroup> chosen: array<u32, ${threads}>;
var<workgroup> numChosen: atomic<u32>;
var<workgroup> numKept: u32;`,
    body: ({ clear, product }) => `  let tile = group % P.tiles;
  let matrix = group / P.tiles;
  for (var base = 0u; base < P.rows; base += ${threads}u) {
    if (thread == 0u) { atomicStore(&numChosen, 0u); }
    workgroupBarrier();
    let candidate = base + thread;
    if (candidate < P.rows) {
      let choice = u32(load_which(candidate));
      if (choice == matrix) { chosen[atomicAdd(&numChosen, 1u)] = candidate; }
      if (matrix == 0u && choice >= P.numMatrices) { ${clear("candidate")} }
    }
    workgroupBarrier();
    if (thread == 0u) { numKept = atomicLoad(&numChosen); }
    let count = workgroupUniformLoad(&numKept);
    for (var first = 0u; first < count; first += ${together}u) {
${each(together, (m) => `      let row${m} = chosen[min(first + ${m}u, count - 1u)];`)}
${product(
  together,
  (m) => `row${m}`,
  (m) => `first + ${m}u < count`,
)}
    }
  }`,
  };
}
