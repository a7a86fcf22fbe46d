/**
 * Upgrades a page's components, and takes them down when the reader leaves it. Material's instant
 * navigation replaces the content without a page load and tells through the global `document$`.
 */

import { patchTheme } from "./a11y";
import { upgradeExercise } from "./exercise";
import { upgradeFigure } from "./figure/figure";
import { upgradeLab } from "./lab/lab";
import { upgradePlayground } from "./playground/upgrade";
import { upgradePredict, upgradeRecall } from "./predict";
import { upgradeCertificate } from "./progress/certificate";
import { upgradeModuleHead, upgradePath, watchReading } from "./progress/path";
import { upgradeTools } from "./progress/tools";
import { upgradeWalk } from "./progress/walk";
import { upgradeQuiz } from "./quiz/quiz";
import { upgradeTrain } from "./train/lazy";
import { upgradeView } from "./views/upgrade";

type Upgrade = (root: HTMLElement) => (() => void) | void;

const UPGRADES: [string, Upgrade][] = [
  [".mm-quiz[data-quiz]", upgradeQuiz],
  [".mm-predict[data-predict]", upgradePredict],
  [".mm-recall[data-predict]", upgradeRecall],
  ["figure.mm-figure", upgradeFigure],
  [".mm-lab[data-lab]", upgradeLab],
  [".mm-exercise[data-exercise]", upgradeExercise],
  [".mm-playground[data-playground]", upgradePlayground],
  [".mm-view[data-view]", upgradeView],
  [".mm-offline", (root) => later(import("./offline/panel").then(({ upgradeOffline }) => upgradeOffline(root)))],
  [".mm-train[data-train]", upgradeTrain],
  [".mm-path[data-path]", upgradePath],
  [".mm-walk[data-path]", upgradeWalk],
  [".mm-certificate[data-certificate]", upgradeCertificate],
  [".mm-module-head", upgradeModuleHead],
  [".mm-progress", upgradeTools],
  ["article.md-content__inner", watchReading],
];

/** Take down what is still to come. */
function later(made: Promise<() => void>): () => void {
  return () => void made.then((stop) => stop());
}

let mounted: { root: HTMLElement; stop: () => void }[] = [];

/** Upgrade everything on the page as it stands. Safe to call again: each node is upgraded once. */
export function mount(): void {
  mounted = mounted.filter(({ root, stop }) => {
    if (!root.isConnected) stop();
    return root.isConnected;
  });
  document.documentElement.classList.add("mm-js");
  for (const [selector, upgrade] of UPGRADES) {
    for (const root of document.querySelectorAll<HTMLElement>(selector)) {
      try {
        const stop = upgrade(root);
        if (stop) mounted.push({ root, stop });
      } catch (error) {
        // One broken component must not take the others with it; its plain form stays readable.
        console.error(`minimind: ${selector}`, error);
      }
    }
  }
  patchTheme();
}

interface Observable { subscribe(next: () => void): unknown }

export function boot(): void {
  const pages = (window as unknown as { document$?: Observable }).document$;
  if (pages) pages.subscribe(mount);
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mount);
  else mount();
}
