/** Edge of a matrix, and threads that hold it together. */
export const matrixEdge = 16;
export const subgroupSize = 32;

/** WGSL types of as many halves in words. */
export const elementType = { 2: "u32", 4: "vec2<u32>", 8: "vec4<u32>" } as const;

/** Halves of an element of workgroup memory: u32, vec2<u32>, vec4<u32>. */
export type ElementLanes = keyof typeof elementType;

/**
 * How kernels write products of 16 x 16 matrices of halves with f32 sums. Matrices lie in the workgroup array `tiles`; the kernel
 * declares it. Places and strides (between rows, or columns where the order is "col") count its elements; every place and stride
 * is a multiple of 16 bytes where elements are vec4<u32>, which hardware wants.
 */
export interface MatrixUnit {
  readonly directives: string;
  /**
   * The types `Left`, `Right` and `Sum`, and pairs of halves: the type `Half2`, `halvesOf(bits)`, `bitsOf(halves)` and
   * `bothHalves(x)`, which rounds an f32.
   */
  declarations(lanes: ElementLanes): string;
  /** Statements that name `subgroup`, the number of the thread's subgroup; they come before all others of this unit. */
  readonly begin: string;
  load(kind: "Left" | "Right" | "Sum", order: "row" | "col", from: MatrixPlace): string;
  /** A statement that stores a `Sum` as rows of f32. */
  store(sum: string, to: MatrixPlace): string;
  /** left right + sum, as an expression. */
  multiplyAdd(left: string, right: string, sum: string): string;
  /** The f32 that the thread of the same subgroup has whose lane differs by `mask`; in uniform control flow. */
  exchange(value: string, mask: number): string;
}

/** Expressions (u32) in elements of `tiles`. */
export interface MatrixPlace {
  readonly at: string;
  readonly stride: string;
}

/** The adapter's own matrix products: `chromium_experimental_subgroup_matrix`. */
export const hardwareMatrices: MatrixUnit = {
  directives: `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
diagnostic(off, subgroup_uniformity);`,
  declarations: () => `alias Left = subgroup_matrix_left<f16, ${matrixEdge}, ${matrixEdge}>;
alias Right = subgroup_matrix_right<f16, ${matrixEdge}, ${matrixEdge}>;
alias Sum = subgroup_matrix_result<f32, ${matrixEdge}, ${matrixEdge}>;
alias Half2 = vec2<f16>;
fn halvesOf(bits: u32) -> Half2 { return bitcast<Half2>(bits); }
fn bitsOf(halves: Half2) -> u32 { return bitcast<u32>(halves); }
fn bothHalves(x: f32) -> Half2 { return Half2(f16(x)); }`,
  begin: `  let subgroup = subgroupBroadcastFirst(thread / ${subgroupSize}u);`,
  load: (kind, order, { at, stride }) =>
    `subgroupMatrixLoad<${kind}, ${order}_major>(&tiles, ${at}, ${stride})`,
  store: (sum, { at, stride }) => `subgroupMatrixStore<row_major>(&tiles, ${at}, ${sum}, ${stride});`,
  multiplyAdd: (left, right, sum) => `subgroupMatrixMultiplyAccumulate(${left}, ${right}, ${sum})`,
  exchange: (value, mask) => `subgroupShuffleXor(${value}, ${mask}u)`,
};
