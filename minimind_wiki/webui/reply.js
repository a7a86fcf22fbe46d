// Draws a text token by token. What a model said reaches the page as textContent, never as HTML.

const PERCENT = new Intl.NumberFormat("en", { style: "percent", maximumSignificantDigits: 3 });

/** Blanks are shown by signs: a token of one space would be nothing to look at. */
function visible(token) {
  return token.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥") || "∅";
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** What is told of the tokens behind a piece: for each, the likeliest in its place, and itself. */
function fill(tip, tokens) {
  tip.replaceChildren();
  for (const { token, p, top } of tokens) {
    const list = element("div", "list");
    const rows = top.some(([other]) => other === token) ? top : [...top, [token, p]];
    for (const [other, likely] of rows) {
      const row = element("div", other === token ? "row drawn" : "row");
      const bar = element("i", "bar");
      bar.style.width = `${100 * likely}%`;
      const track = element("span", "track");
      track.append(bar);
      row.append(element("span", "token", visible(other)), track,
        element("span", "p", PERCENT.format(likely)));
      list.append(row);
    }
    tip.append(list);
  }
}

/** Above the piece if there is room, else below it; never outside the window. */
function place(tip, piece) {
  tip.showPopover(); // above everything, whatever clips or overlaps the text
  const at = piece.getClientRects()[0] ?? piece.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const above = at.top - height - 6;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
  tip.style.top = `${above > 8 ? above : at.bottom + 6}px`;
}

/** Pieces with tokens form one stop of the Tab key; arrows walk from one to the next. An answer may
    have thousands: what happens at a key or a pointer touches two of them at most. */
function listen(text, tip, pieces) {
  const told = [...text.children].filter((piece) => pieces.get(piece)?.length);
  const order = new Map(told.map((piece, at) => [piece, at]));
  let stop = told[0]; // where the Tab key stops
  const hide = () => tip.matches(":popover-open") && tip.hidePopover();
  const show = (piece) => {
    fill(tip, pieces.get(piece));
    place(tip, piece);
  };
  if (stop) stop.tabIndex = 0;
  text.onpointerover = (event) => order.has(event.target) && show(event.target);
  text.onpointerleave = () => {
    const focused = text.getRootNode().activeElement;
    if (order.has(focused)) show(focused);
    else hide();
  };
  // no `onfocusin =`: browsers have no such property
  text.addEventListener("focusin", ({ target }) => {
    if (!order.has(target)) return;
    if (stop !== target) stop.tabIndex = -1;
    stop = target;
    stop.tabIndex = 0;
    show(target);
  });
  text.addEventListener("focusout", hide);
  text.onkeydown = (event) => {
    const now = order.get(event.target);
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: told.length - 1 }[event.key];
    if (event.key === "Escape") hide();
    if (next === undefined || now === undefined) return;
    event.preventDefault();
    told[Math.max(0, Math.min(next, told.length - 1))].focus();
  };
  return hide;
}

async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text); // absent where the page is neither local nor https
  } catch {
    const field = element("textarea", "away");
    field.value = text;
    button.after(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

const drawn = new WeakMap(); // what stands in an element, and how its hint is hidden

/** Hide the hint when something scrolls; what ends that. */
function leaving(hide) {
  const gone = new AbortController();
  addEventListener("scroll", hide, { capture: true, passive: true, signal: gone.signal });
  return () => gone.abort();
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".reply");
  const before = drawn.get(root);
  before?.leave();
  if (before && before.mark === data.mark) return (before.leave = leaving(before.hide)); // nothing changed
  const text = element("div", data.tint ? "text tint" : "text");
  const tip = element("div", "tip");
  tip.id = "tip";
  tip.role = "tooltip";
  tip.popover = "manual";
  const pieces = new Map();
  for (const { text: said, tokens } of data.pieces) {
    const piece = element("span", "piece", said);
    if (tokens.length) {
      const p = tokens.reduce((product, token) => product * token.p, 1);
      piece.style.setProperty("--doubt", (1 - p).toFixed(3));
      piece.tabIndex = -1;
      piece.setAttribute("aria-describedby", "tip");
    }
    pieces.set(piece, tokens);
    text.append(piece);
  }
  const hide = listen(text, tip, pieces);
  root.replaceChildren(text, tip);
  if (data.copy) {
    const button = element("button", "copy", "Copy");
    button.type = "button";
    button.onclick = () => copy(button, data.pieces.map((piece) => piece.text).join(""));
    root.append(button);
  }
  const leave = leaving(hide);
  drawn.set(root, { mark: data.mark, hide, leave });
  return leave;
}
