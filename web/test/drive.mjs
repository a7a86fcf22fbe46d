// node web/test/drive.mjs TASK.json ANSWERS.json: bundle drive.ts and run it.
import { build } from "esbuild";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(tmpdir(), "minimind-drive-"));
try {
  await build({
    entryPoints: [join(here, "drive.ts")],
    outfile: join(out, "drive.mjs"),
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    loader: { ".wasm": "binary" },
    target: "node20",
  });
  const { drive } = await import(pathToFileURL(join(out, "drive.mjs")).href);
  await drive(process.argv[2], process.argv[3]);
} finally {
  rmSync(out, { recursive: true, force: true });
}
