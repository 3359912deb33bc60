/** What of a tiling decides where tiles lie. */
interface Tiles {
  /** Outputs of a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Tiles of M that neighbouring workgroups go through before the next tile of N. */
  readonly band: number;
}

interface TilePlace {
  /** Workgroups of the launch. */
  readonly groups: number;
  readonly params: { readonly tilesM: number; readonly tilesN: number };
  /** Statements that name product `batch` and the first output of the workgroup's tile: row `aStart`, column `bStart`. */
  readonly code: string;
}

/** Shares out `count` products [M, N] among workgroups: a band of tiles after another, so that operands stay in cache. */
export function tilePlace(
  { M, N, count }: { readonly M: number; readonly N: number; readonly count: number },
  { rows, columns, band }: Tiles,
): TilePlace {
  const params = { tilesM: Math.ceil(M / rows), tilesN: Math.ceil(N / columns) };
  return {
    groups: params.tilesM * params.tilesN * count,
    params,
    code: `  let batch = group / (P.tilesM * P.tilesN);
  let inBatch = group % (P.tilesM * P.tilesN);
  let perBand = ${band}u * P.tilesN;
  let firstM = (inBatch / perBand) * ${band}u;
  let bandRows = min(${band}u, P.tilesM - firstM);
  let inBand = inBatch % perBand;
  let aStart = (firstM + inBand % bandRows) * ${rows}u;
  let bStart = (inBand / bandRows) * ${columns}u;`,
  };
}
