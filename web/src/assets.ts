/** Where the built files lie. Set once by the entry: a chunk's own address would be another folder. */

let base = "";

export function setAssetBase(url: string): void {
  base = url;
}

export function assetUrl(name: string): string {
  return new URL(name, base || document.baseURI).href;
}

/** A finger catches the page's scroll in a live figure: touch screens ask first. */
export function coarsePointer(): boolean {
  return window.matchMedia("(hover: none), (pointer: coarse)").matches;
}
