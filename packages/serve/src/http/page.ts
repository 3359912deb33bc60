/** One file of a page, held in memory. */
export interface PageAsset {
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Whether the path has a content hash in it, so that browsers may keep the file for good. */
  readonly isImmutable: boolean;
}

/** The files of a page by URL path; `/index.html` answers `/`. */
export type Page = ReadonlyMap<string, PageAsset>;

const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Answers with a file of the page, or undefined when there is none at that path. */
export function pageResponse(page: Page, path: string): Response | undefined {
  const asset = page.get(path === "/" ? "/index.html" : path);
  if (asset === undefined) return undefined;
  return new Response(asset.body, {
    headers: {
      "content-type": asset.contentType,
      "content-length": String(asset.body.byteLength),
      "cache-control": asset.isImmutable ? "public, max-age=31536000, immutable" : "no-cache",
      "content-security-policy": contentSecurityPolicy,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    },
  });
}
