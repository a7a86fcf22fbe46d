// The fonts of the site: variable, Latin, served by us. Greek and the mathematics font are fetched by
// the browser only on pages that need them (unicode-range, and `math` elements). Of their weights those stay
// that styles/ uses: the outlines of the others were three tenths of the bytes that a first visit waits for.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import subsetFont from "subset-font";

const SERIF = "@fontsource-variable/source-serif-4";
const SANS = "@fontsource-variable/inter";
const MONO = "@fontsource-variable/jetbrains-mono";
const MATH = "@fontsource/stix-two-math";

export const FONTS = [
  { package: SERIF, file: "source-serif-4-latin-wght-normal.woff2", as: "serif.woff2" },
  { package: SERIF, file: "source-serif-4-latin-wght-italic.woff2", as: "serif-italic.woff2" },
  { package: SERIF, file: "source-serif-4-greek-wght-normal.woff2", as: "serif-greek.woff2" },
  { package: SANS, file: "inter-latin-wght-normal.woff2", as: "sans.woff2" },
  { package: MONO, file: "jetbrains-mono-latin-wght-normal.woff2", as: "mono.woff2" },
  { package: MATH, file: "stix-two-math-latin-400-normal.woff2", as: "math.woff2", subset: mathText },
];

const WEIGHTS = { wght: { min: 400, max: 700 } };

/** What formulas here can contain: Latin, Greek, arrows, operators; upright, bold, italic, script and open letters. */
function mathText() {
  const ranges = [
    [0x20, 0x7e], [0xa0, 0xff], [0x391, 0x3f5], [0x2010, 0x2044], [0x2102, 0x2135],
    [0x2190, 0x21ff], [0x2200, 0x22ff], [0x2308, 0x230b], [0x23b0, 0x23b1], [0x23dc, 0x23e1],
    [0x27e8, 0x27eb], [0x2a00, 0x2a06], [0x2a7d, 0x2ab0], [0x1d400, 0x1d4cf], [0x1d538, 0x1d550], [0x1d6a4, 0x1d755],
  ];
  return ranges
    .flatMap(([a, b]) => Array.from({ length: b - a + 1 }, (_, i) => String.fromCodePoint(a + i)))
    .join("");
}

export async function copyFonts(modules, folder) {
  await mkdir(folder, { recursive: true });
  for (const font of FONTS) {
    const from = join(modules, font.package, "files", font.file);
    const wish = font.subset ? {} : { keepAllGlyphs: true, variationAxes: WEIGHTS };
    const bytes = await subsetFont(await readFile(from), font.subset?.() ?? "", { targetFormat: "woff2", ...wish });
    await writeFile(join(folder, font.as), bytes);
  }
}
