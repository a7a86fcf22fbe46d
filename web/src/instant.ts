/**
 * Material's instant navigation runs every `<script>` of the page it fetched, also those that hold
 * data: it copies their text into a new script without the type, the JSON fails as JavaScript, and
 * the navigation stops half way. So data scripts become plain elements while the page is parsed.
 */

export const DATA = 'script[type="application/json"], [data-mm-json]';

/** Turn the data scripts of a parsed page into elements that nothing executes. */
export function neutralize(page: Document): void {
  for (const script of page.querySelectorAll<HTMLScriptElement>('[data-md-component="container"] script[type="application/json"]')) {
    const holder = page.createElement("div");
    holder.className = script.className;
    holder.hidden = true;
    holder.dataset.mmJson = script.textContent ?? "";
    script.replaceWith(holder);
  }
}

export function guardNavigation(): void {
  const parse = DOMParser.prototype.parseFromString;
  DOMParser.prototype.parseFromString = function (this: DOMParser, text: string, type: DOMParserSupportedType): Document {
    const page = parse.call(this, text, type);
    if (type === "text/html") neutralize(page);
    return page;
  };
}
