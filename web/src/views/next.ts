/** What comes next, as bars. */

import { h } from "../dom";
import type { Body, Change, Reading } from "./frame";
import { compare } from "./odds";
import { OddsTable } from "./parts";

export function nextBody(_change: Change): Body {
  const odds = new OddsTable();
  return {
    element: h("div", {}, odds.element),
    async show({ engine, info, ids, current }: Reading): Promise<void> {
      const { raw, texts } = await engine.distribution(info.id, ids);
      if (current()) odds.show(compare(raw, raw, texts, 10).slice(0, 10), false);
    },
  };
}
