import { existsSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

// Lets plain Node run the sources: `@heddle/NAME` is its src/index.ts, and `./x.js` is `./x.ts`.
registerHooks({
  resolve(specifier, context, next) {
    const own = /^@heddle\/([^/]+)$/.exec(specifier);
    if (own !== null) return next(new URL(`../../../${own[1]}/src/index.ts`, import.meta.url).href, context);
    if (specifier.startsWith(".") && specifier.endsWith(".js") && context.parentURL !== undefined) {
      const source = new URL(specifier.replace(/\.js$/, ".ts"), context.parentURL);
      if (existsSync(fileURLToPath(source))) return next(source.href, context);
    }
    return next(specifier, context);
  },
});
