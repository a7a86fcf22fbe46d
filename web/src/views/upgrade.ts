/** Fetches the code of the views when a page has one; the recorded pictures stand until then. */

export function upgradeView(root: HTMLElement): () => void {
  let stop: (() => void) | null = null;
  let left = false;
  void import("./view").then(({ upgrade }) => {
    if (!left) stop = upgrade(root);
  }).catch((error: unknown) => console.error("minimind: views", error));
  return () => {
    left = true;
    stop?.();
  };
}
