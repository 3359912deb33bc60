import { existsSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

// Lets plain Node run the sources: `@heddle/NAME` and `@heddle/NAME/DOOR` are in its src, and `./x.js` is `./x.ts`.
registerHooks({
  resolve(specifier, context, next) {
    const own = /^@heddle\/([^/]+)(?:\/(.+))?$/.exec(specifier);
    if (own !== null) {
      const src = new URL(`../../../${own[1]}/src/`, import.meta.url);
      const files = own[2] === undefined ? ["index.ts"] : [`${own[2]}.ts`, `${own[2]}/index.ts`];
      const found = files.map((file) => new URL(file, src)).find((url) => existsSync(fileURLToPath(url)));
      if (found !== undefined) return next(found.href, context);
    }
    if (specifier.startsWith(".") && specifier.endsWith(".js") && context.parentURL !== undefined) {
      const source = new URL(specifier.replace(/\.js$/, ".ts"), context.parentURL);
      if (existsSync(fileURLToPath(source))) return next(source.href, context);
    }
    return next(specifier, context);
  },
});
