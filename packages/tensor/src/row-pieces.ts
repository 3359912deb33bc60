import type { Device } from "./device.js";
import type { DType } from "./dtype.js";
import { HeddleError } from "./error.js";
import { embedding } from "./functions.js";
import { concat } from "./ops/join.js";
import { type EmbeddingTable, linear } from "./ops/linear.js";
import { scope } from "./scope.js";
import type { Tensor } from "./tensor.js";
import { disposeTree, type TreeNode, treeNode } from "./tree.js";

/**
 * A matrix [out, in] in pieces of rows, each a weight of its own: for tables that are larger than one tensor may be on a device.
 *
 * It is applied and looked up as the whole matrix would be, and is a branch of weight trees, whose pieces are trained each. Free
 * it with `dispose()`, `using` or `disposeTree`. Twin: `linear` and `embedding` with the whole matrix.
 */
export class RowPieces implements EmbeddingTable, TreeNode, Disposable {
  /** [outs_i, in] each, the first rows first. */
  readonly pieces: readonly EmbeddingTable[];

  /**
   * Owns the pieces from then on.
   * @throws HeddleError "shape" if there is none, or their rows differ in length
   */
  constructor(pieces: readonly EmbeddingTable[]) {
    const widths = pieces.map(({ inFeatures }) => inFeatures);
    if (widths.length === 0 || new Set(widths).size > 1) {
      const message = `RowPieces: pieces must be at least one and have rows of one length; got lengths [${widths.join(", ")}]. Cut one matrix along its rows.`;
      throw new HeddleError("shape", message, { widths });
    }
    this.pieces = pieces;
  }

  get inFeatures(): number {
    return this.#first().inFeatures;
  }

  get outFeatures(): number {
    return this.pieces.reduce((total, { outFeatures }) => total + outFeatures, 0);
  }

  get shape(): readonly [number, number] {
    return [this.outFeatures, this.inFeatures];
  }

  get device(): Device {
    return this.#first().device;
  }

  get dtype(): DType {
    return this.#first().dtype;
  }

  /** y = x W^T. Shapes: x [.., in] -> [.., out]. */
  apply(x: Tensor): Tensor {
    return scope(x.device, () =>
      concat(
        this.pieces.map((piece) => linear(x, piece)),
        { axis: -1 },
      ),
    );
  }

  /** Rows of W. Shapes: ids [..] i32 or u32 -> [.., in]; an id out of range gives zeros. */
  take(ids: Tensor): Tensor {
    return scope(this.device, () => {
      let start = 0;
      const found = this.pieces.map((piece) => {
        // Ids of other pieces are out of range of this one, which gives zeros.
        const rows = embedding(ids.sub(start), piece);
        start += piece.outFeatures;
        return rows;
      });
      return found.reduce((sum, rows) => sum.add(rows));
    });
  }

  dispose(): void {
    disposeTree(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  [treeNode]() {
    return {
      children: Object.fromEntries(this.pieces.map((piece, i) => [`piece${i}`, piece])),
      rebuild: (children: Readonly<Record<string, unknown>>) =>
        new RowPieces(Object.values(children) as EmbeddingTable[]),
    };
  }

  #first(): EmbeddingTable {
    return this.pieces[0] as EmbeddingTable;
  }
}
