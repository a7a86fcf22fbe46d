/** One head's pattern, large: each row is a token, each column what it may look at. */

import { shown } from "../playground/odds";
import { patternPaths, stairs } from "./heads";
import { drawn, svg } from "./parts";

const CELL = 20;
const LEFT = 74;
const TOP = 66;

export function largePattern(rows: ArrayLike<number>[], texts: string[], at: number, name: string, choose: (row: number) => void): SVGElement {
  const size = texts.length;
  const middle = CELL / 2 + 4;
  const label = (text: string): string => {
    const said = shown(text);
    return said.length > 9 ? `${said.slice(0, 8)}…` : said;
  };
  const down = texts.map((text, i) => svg("text", {
    x: LEFT - 7, y: TOP + i * CELL + middle, "text-anchor": "end", ...(i === at ? { class: "mm-pattern__at" } : {}),
  }, label(text)));
  const across = texts.map((text, i) => svg("text", { transform: `translate(${LEFT + i * CELL + middle} ${TOP - 7}) rotate(-90)` }, label(text)));
  const field = svg("g", { transform: `translate(${LEFT} ${TOP}) scale(${CELL})` },
    svg("path", { class: "mm-pattern__field", d: stairs(size) }), ...drawn(patternPaths(rows)),
    svg("rect", { class: "mm-pattern__row", x: 0, y: at, width: at + 1, height: 1 }));
  const width = LEFT + size * CELL + 2;
  const height = TOP + size * CELL + 2;
  const picture = svg("svg", {
    class: "mm-pattern", viewBox: `0 0 ${width} ${height}`, role: "img", style: `max-width:${width * 1.5}px`,
    "aria-label": `Where each token (row) looks (column), ${name}`,
  }, ...down, ...across, field) as SVGSVGElement;
  const rowUnder = (event: PointerEvent): number => {
    const box = picture.getBoundingClientRect();
    return Math.floor((((event.clientY - box.top) / box.height) * height - TOP) / CELL);
  };
  picture.addEventListener("pointermove", (event) => {
    const row = rowUnder(event);
    if (event.pointerType === "mouse" && row >= 0 && row < size && row !== at) choose(row);
  });
  picture.addEventListener("click", (event) => {
    const row = rowUnder(event as PointerEvent);
    if (row >= 0 && row < size) choose(row);
  });
  return picture;
}
