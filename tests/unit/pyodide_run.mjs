// Runs jobs in the built bundle under Node, as the page's worker does in a browser.
// node pyodide_run.mjs FOLDER JOBS.json; prints JSON {boot_ms, results: [{answer, ms}]}.
// A job: {call: "run_lab" | "run_check", args: [...]} or {python: "source whose last value counts"}.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, file] = process.argv.slice(2);
const began = performance.now();
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const python = await loadPyodide({
  indexURL: `${folder}/`,
  packageBaseUrl: `${folder}/`,
  lockFileURL: `${folder}/pyodide-lock.json`,
});
const names = Object.keys(JSON.parse(readFileSync(`${folder}/pyodide-lock.json`, "utf8")).packages);
await python.loadPackage(names, { messageCallback: () => {} });
let printed = "";
python.setStdout({ batched: (text) => { printed += `${text}\n`; } });
const worker = python.pyimport("minimind_wiki.lite.worker");
const boot_ms = performance.now() - began;
const results = [];
for (const job of JSON.parse(readFileSync(file, "utf8"))) {
  const start = performance.now();
  const answer = job.python ? python.runPython(job.python) : JSON.parse(worker[job.call](...job.args));
  results.push({ answer, ms: performance.now() - start });
}
console.log(JSON.stringify({ boot_ms, results, printed }));
