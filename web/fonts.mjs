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

/**
 * What formulas here contain: ASCII, and what formula-letters.txt names; a build stops at a formula with
 * another sign (book/tex.py). Letters that stand for quantities are drawn with Unicode's italic ones.
 */
async function mathText() {
  const listed = await readFile(new URL("./formula-letters.txt", import.meta.url), "utf8");
  const upright = String.fromCodePoint(...Array.from({ length: 0x5f }, (_, i) => 0x20 + i)) + "\u00a0" + listed.replace(/\s/g, "");
  return upright + [...upright].map(italic).join("");
}

/** The mathematical italic form of a letter: of "x", "𝑥"; of what has none, nothing. */
function italic(letter) {
  if (letter === "h") return "\u210e";
  for (const [from, to, first] of [["A", "Z", 0x1d434], ["a", "z", 0x1d44e], ["Α", "Ω", 0x1d6e2], ["α", "ω", 0x1d6fc]]) {
    if (letter >= from && letter <= to) return String.fromCodePoint(first + letter.codePointAt(0) - from.codePointAt(0));
  }
  return { "∂": "\u{1d715}", ϵ: "\u{1d716}", ϑ: "\u{1d717}", ϕ: "\u{1d719}", "∇": "\u{1d6fb}" }[letter] ?? "";
}

export async function copyFonts(modules, folder) {
  await mkdir(folder, { recursive: true });
  for (const font of FONTS) {
    const from = join(modules, font.package, "files", font.file);
    const wish = font.subset ? {} : { keepAllGlyphs: true, variationAxes: WEIGHTS };
    const bytes = await subsetFont(await readFile(from), (await font.subset?.()) ?? "", { targetFormat: "woff2", ...wish });
    await writeFile(join(folder, font.as), bytes);
  }
}
