// Runs compile_archive.py inside Pyodide under Node.
// node compile.mjs JOBS.json, where JOBS = {pyodide, script, jobs: [{source, target, optimize}]}
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { pyodide, script, jobs } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: `${pyodide}/` });
python.runPython(readFileSync(script, "utf8"));
const compile = python.globals.get("compile_archive");
for (const { source, target, optimize } of jobs) {
  python.FS.writeFile("/old.zip", readFileSync(source));
  compile("/old.zip", "/new.zip", optimize);
  writeFileSync(target, python.FS.readFile("/new.zip"));
}
