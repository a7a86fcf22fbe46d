/** Who of the experts answers a token: the k likeliest, with their probabilities as weights. */

import { EngineError } from "./api";
import type { Config } from "./config";

type Choice = Pick<Config, "expertsPerToken" | "normTopk">;

/**
 * `scores` (E) become probabilities; a bias takes part in the choice and not in the weights. A
 * refused expert is not there at all: the others share its probability. The weights of the chosen
 * sum to one where the model says so.
 */
export function chooseExperts(
  scores: Float32Array, config: Choice, bias: Float32Array | null, refused?: Set<number>,
): { chosen: number[]; weight: number[] } {
  const open = Array.from(scores, (score, i) => (refused?.has(i) ? -Infinity : score));
  const best = open.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = open.map((score) => Math.exp(score - best));
  const sum = powers.reduce((a, b) => a + b, 0);
  const probability = powers.map((power) => power / sum);
  const liking = probability.map((p, i) => (bias ? p + bias[i]! : p));
  const order = [...liking.keys()].filter((i) => !refused?.has(i)).sort((a, b) => liking[b]! - liking[a]! || a - b);
  const chosen = order.slice(0, config.expertsPerToken);
  if (chosen.length < config.expertsPerToken) {
    throw new EngineError(
      `Each token visits ${config.expertsPerToken} experts, and only ${chosen.length} are left on; switch one on again.`, "input");
  }
  const weight = chosen.map((i) => probability[i]!);
  const together = config.normTopk ? weight.reduce((a, b) => a + b, 0) : 1;
  return { chosen, weight: weight.map((w) => w / together) };
}
