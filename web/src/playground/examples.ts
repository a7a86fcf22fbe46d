/** Prompts that show something, from rows of the little world that no model was trained on. */

import { OPEN } from "./state";

export interface Example { name: string; ask: string; look: string }

export const EXAMPLES: Example[] = [
  {
    name: "A sum in two steps",
    ask: "Minda has 34 coins. Pedert has 5 coins more than Minda. How many coins do they have together?",
    look: "Which stage works it out, and which only answers? Look at the odds of the very first token.",
  },
  {
    name: "A time",
    ask: "Luretta leaves for Heron Pond at 16:25 and walks for 15 minutes. When does Luretta arrive?",
    look: "Reward for right sums brings steps. Compare SFT and RL at their first token.",
  },
  {
    name: "A preference",
    ask: "Telmina is older than Nonela. Josik is older than Telmina. Who is the oldest of the three?",
    look: "DPO saw stories only, and answers this otherwise than SFT. What changed by accident?",
  },
  {
    name: "Capital letters",
    ask: "Write in capital letters: brush, broom, purse, candle",
    look: "Which stages have learned to follow an instruction?",
  },
  {
    name: "A list backwards",
    ask: "Write this list backwards: clock, bowl, map, comb",
    look: "Copying in reverse needs attention to places. Does it hold for a list of seven?",
  },
  {
    name: "A story begins",
    ask: OPEN,
    look: "Which stages go on telling, and what have the others lost? On a bright day any month or season may follow: 16 words, each as likely. Then write “hot” for “bright”.",
  },
];
