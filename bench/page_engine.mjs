// Tokens per second of the page's model engine in Node, on one core: the shipped models, and an
// untrained one in the shape of `26m`. CPU time as well as wall time, since a machine has other work.
//
// Run: node bench/page_engine.mjs [--tokens 128] [--prompt 64]     (after `make web`)
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "docs", "en", "assets", "build", "lm/");
const { build } = createRequire(join(root, "web/"))("esbuild");
const flag = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at > 0 ? Number(process.argv[at + 1]) : otherwise;
};
const tokens = flag("--tokens", 128);
const prompt = flag("--prompt", 64);

const SHAPE_26M = {
  model_type: "llama", vocab_size: 6400, hidden_size: 512, num_hidden_layers: 8, num_attention_heads: 8,
  num_key_value_heads: 2, head_dim: 64, intermediate_size: 1408, max_position_embeddings: 2048,
  rope_theta: 1e6, rms_norm_eps: 1e-5, tie_word_embeddings: true,
};

const out = mkdtempSync(join(tmpdir(), "minimind-bench-"));
try {
  await build({
    stdin: {
      contents: `export { engineAt } from "./web/test/drive.ts";
        export { untrained } from "./web/src/engine/random.ts";
        export { readConfig } from "./web/src/engine/config.ts";
        export { start } from "./web/src/engine/loader.ts";`,
      resolveDir: root,
      loader: "ts",
    },
    outfile: join(out, "bench.mjs"),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    loader: { ".wasm": "binary" },
    logLevel: "error",
  });
  const { engineAt, untrained, readConfig, start } = await import(pathToFileURL(join(out, "bench.mjs")).href);
  const engine = engineAt(folder);
  const rows = [];
  for (const { id, folder: shipped } of await engine.shipped()) {
    if (!shipped) continue;
    const open = clock();
    await engine.load({ kind: "shipped", id });
    rows.push(await measure(engine, id, open()));
  }
  const texts = new Map([["tokenizer.json", readFileSync(join(folder, "world-tiny", "tokenizer.json"), "utf8")]]);
  const config = readConfig(SHAPE_26M);
  const drawn = untrained(config, 0);
  const open = clock();
  const large = await start({ id: "26m", title: "26m" }, config, drawn, texts, "");
  const opened = open();
  engine.loader.put(large);
  rows.push(await measure(engine, "26m", opened));
  console.table(rows);
} finally {
  rmSync(out, { recursive: true, force: true });
}

/** Milliseconds since now: [wall, CPU]. */
function clock() {
  const wall = performance.now();
  const cpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(cpu);
    return [performance.now() - wall, (user + system) / 1000];
  };
}

async function measure(engine, id, [openWall, openCpu]) {
  const ids = Array.from({ length: prompt }, (_, i) => (i * 37 + 5) % 2000);
  // The end token is forbidden, so that all runs are equally long. The short run before each of
  // the two warms the code up, and leaves the prompt read.
  const request = { ids, maxTokens: tokens, sampling: { bias: { 2: -100 } }, alternatives: 5 };
  const warm = () => engine.generate(id, { ...request, maxTokens: 16 }, () => undefined);
  await warm();
  const read = clock();
  await engine.distribution(id, ids.map((i) => i + 1));
  const [readWall, readCpu] = read();
  await warm();
  const write = clock();
  const { tokens: made } = await engine.generate(id, request, () => undefined);
  const [wall, cpu] = write();
  return {
    model: id,
    "open, ms": round(openWall), "open, ms CPU": round(openCpu),
    "read, tokens/s": round((1000 * ids.length) / readWall), "read, CPU": round((1000 * ids.length) / readCpu),
    "write, tokens/s": round((1000 * made) / wall), "write, CPU": round((1000 * made) / cpu),
  };
}

function round(value) {
  return Math.round(value);
}
