// Opens a model folder as the page does, and writes the bundle: node page_open.mjs FOLDER OUT
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "web");
const { build } = createRequire(join(web, "package.json"))("esbuild");
const { outputFiles } = await build({
  entryPoints: [join(web, "src/engine/open.ts")], bundle: true, format: "esm", write: false, logLevel: "error",
});
const { openFiles } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);

const [folder, out] = process.argv.slice(2);
const chosen = readdirSync(folder).map((name) => ({ name: `mine/${name}`, blob: new Blob([readFileSync(join(folder, name))]) }));
try {
  writeFileSync(out, new Uint8Array((await openFiles(chosen)).bin));
} catch (error) {
  console.log(`${error.code}: ${error.message}`);
}
