// Builds everything the reader's browser loads, into docs/en/assets/build/.
// `py/` in that folder belongs to web/python/ and `lm/` to scripts/site_models.py: both are left alone.
import { build, context } from "esbuild";
import { cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { FONTS, copyFonts } from "./fonts.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "docs", "en", "assets", "build");
const watch = process.argv.includes("--watch");

const common = {
  bundle: true,
  minify: !watch,
  sourcemap: watch,
  target: ["es2022", "chrome109", "firefox115", "safari16.4"],
  logLevel: "warning",
  legalComments: "linked",
};

const bundles = [
  {
    ...common,
    entryPoints: { book: join(here, "src/book.ts") },
    outdir: out,
    format: "esm",
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
  },
  {
    ...common,
    entryPoints: { pyworker: join(here, "src/runtime/pyworker.ts") },
    outdir: out,
    format: "esm",
    external: ["./py/*"],
  },
  {
    ...common,
    entryPoints: { lmworker: join(here, "src/engine/worker.ts") },
    outdir: out,
    format: "esm",
    loader: { ".wasm": "binary" },
  },
  {
    ...common,
    entryPoints: { sw: join(here, "src/offline/sw.ts") },
    outdir: out,
    format: "iife",
  },
  {
    ...common,
    entryPoints: { book: join(here, "styles/book.css") },
    outdir: out,
    external: ["./fonts/*"],
  },
];

await mkdir(out, { recursive: true });
// Chunk names carry a hash: without this, those of earlier builds would be published too.
await rm(join(out, "chunks"), { recursive: true, force: true });
if (watch) {
  for (const options of bundles) await (await context(options)).watch();
  console.log("watching web/src and web/styles");
} else {
  await Promise.all(bundles.map((options) => build(options)));
}

const modules = join(here, "node_modules");
await cp(
  join(modules, "plotly.js-cartesian-dist-min/plotly-cartesian.min.js"),
  join(out, "plotly.min.js"),
);
await copyFonts(modules, join(out, "fonts"));
await licences();
if (!watch) {
  for (const name of ["book.js", "book.css", "pyworker.js", "lmworker.js", "plotly.min.js"]) {
    const { size } = await stat(join(out, name));
    console.log(`${name.padEnd(14)} ${(size / 1024).toFixed(1).padStart(8)} KB`);
  }
}

/** The licences of what is served, beside it. */
async function licences() {
  const parts = [];
  const packages = ["plotly.js-cartesian-dist-min", "@huggingface/tokenizers", "@huggingface/jinja", ...new Set(FONTS.map((font) => font.package))];
  for (const name of packages) {
    const text = await readFile(join(modules, name, "LICENSE"), "utf8").catch(() => "");
    parts.push(`${name}\n${"=".repeat(name.length)}\n\n${text.trim()}\n`);
  }
  await writeFile(join(out, "THIRD-PARTY.txt"), parts.join("\n\n"));
}
