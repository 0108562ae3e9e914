// Bundles the page into the package: node build.mjs. esbuild's metafile keeps the size in check.
import { gzipSync } from "node:zlib";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { build } from "esbuild";

const out = new URL("../../src/codeling/serving/playground/static/", import.meta.url).pathname;
const maxBytes = 400_000;

await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: "src/main.js" },
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none",
  logLevel: "warning",
});
await copyFile("index.html", `${out}index.html`);
let total = 0;
for (const name of ["app.js", "app.css", "index.html"]) {
  total += gzipSync(await readFile(out + name)).length;
}
console.log(`playground: ${(total / 1000).toFixed(0)} kB compressed`);
if (total > maxBytes) throw new Error(`the bundle is above ${maxBytes / 1000} kB`);
