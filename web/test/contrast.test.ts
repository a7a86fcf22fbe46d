import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

declare const STYLES: string;

const css = readFileSync(join(STYLES, "tokens.css"), "utf8");

/** The six-digit colours of one scheme. */
function tokens(scheme: string): Map<string, string> {
  const block = css.slice(css.indexOf(`[data-md-color-scheme="${scheme}"]`)).split("}")[0] ?? "";
  return new Map([...block.matchAll(/--mm-([a-z0-9-]+):\s*(#[0-9a-f]{6});/g)].map((m) => [m[1] as string, m[2] as string]));
}

function luminance(hex: string): number {
  const n = Number.parseInt(hex.slice(1), 16);
  const [r, g, b] = [n >> 16, (n >> 8) & 255, n & 255].map((v) => {
    const s = v / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

const TEXT = ["ink", "soft", "muted", "accent", "good", "bad", "code-keyword", "code-string", "code-number", "code-name", "code-comment"];

for (const scheme of ["default", "slate"]) {
  const colors = tokens(scheme);
  const color = (name: string): string => {
    const found = colors.get(name);
    assert.ok(found, `${scheme}: --mm-${name} is missing`);
    return found;
  };
  test(`${scheme}: text has 4.5:1 on paper, card and wash`, () => {
    for (const name of TEXT) {
      for (const ground of ["paper", "card", "wash"]) {
        const ratio = contrast(color(name), color(ground));
        assert.ok(ratio >= 4.5, `${name} on ${ground}: ${ratio.toFixed(2)}`);
      }
    }
    assert.ok(contrast(color("good"), color("good-wash")) >= 4.5);
    assert.ok(contrast(color("bad"), color("bad-wash")) >= 4.5);
    assert.ok(contrast(color("soft"), color("bad-wash")) >= 4.5);
  });
  test(`${scheme}: the scale of probabilities grows step by step, and its ink can be read`, () => {
    const steps = [0, 1, 2, 3, 4, 5];
    for (const step of steps) {
      const ratio = contrast(color(`seq-ink-${step}`), color(`seq-${step}`));
      assert.ok(ratio >= 4.5, `ink on seq-${step}: ${ratio.toFixed(2)}`);
    }
    const away = steps.map((step) => contrast(color(`seq-${step}`), color("card")));
    for (const step of steps.slice(1)) {
      const [from, to] = [away[step - 1] as number, away[step] as number];
      assert.ok(to > from * 1.15, `seq-${step} stands ${(to / from).toFixed(2)} above the step before`);
    }
  });
  test(`${scheme}: every role's mark has 3:1, and its name in the figure 4.5:1 unless it is a level`, () => {
    const roles = [...colors.keys()].filter((name) => name.startsWith("role-"));
    assert.equal(roles.length, 17);
    for (const name of roles) {
      for (const ground of ["paper", "card"]) {
        const ratio = contrast(color(name), color(ground));
        const wanted = /chance|floor|prenorm|-f$/.test(name) ? 3 : 4.5;
        assert.ok(ratio >= wanted, `${name} on ${ground}: ${ratio.toFixed(2)}`);
      }
    }
  });
}
