/** Style sheets are imported for their effect; the build collects them. */
declare module "*.css";

/** A file's text. */
declare module "*?raw" {
  const text: string;
  // biome-ignore lint/style/noDefaultExport: the build makes it so
  export default text;
}
