// TeX to MathML for the build: one JSON object a line in ({tex, display}), one a line out
// ({mathml} or {error}). Lives as long as its standard input.
import { createInterface } from "node:readline";
import temml from "temml";

// Short names for what the pages write often.
const macros = {
  "\\RMS": "\\operatorname{RMS}",
  "\\Var": "\\operatorname{Var}",
  "\\E": "\\mathbb{E}",
  "\\R": "\\mathbb{R}",
};

// Temml lifts the bar of a root to half an em; over a small letter in STIX Two that touches it, and
// the sign hangs below the line.
const LIFT = ['height="0.5em"', 'height="0.75em"'];

function convert(line) {
  try {
    const { tex, display } = JSON.parse(line);
    const options = { displayMode: display, throwOnError: true, macros: { ...macros }, trust: false };
    const mathml = temml.renderToString(tex, options);
    return { mathml: mathml.replaceAll(`<mspace width="0pt" ${LIFT[0]}>`, `<mspace width="0pt" ${LIFT[1]}>`) };
  } catch (error) {
    return { error: String(error.message ?? error).split("\n")[0] };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim()) process.stdout.write(JSON.stringify(convert(line)) + "\n");
}
