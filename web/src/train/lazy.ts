/** Train in the page: loaded only where such a box is, so that no other page pays for it. */

export function upgradeTrain(root: HTMLElement): () => void {
  let stop: (() => void) | undefined;
  let left = false;
  void import("./train").then((module) => {
    if (!left) stop = module.upgrade(root);
  });
  return () => {
    left = true;
    stop?.();
  };
}
