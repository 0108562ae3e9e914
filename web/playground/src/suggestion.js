// What is known of one suggestion, and what is left of it while a person types it. No DOM.

import { wellFormed } from "./text.js";

export const MAX_PREFIX = 100_000;
export const MAX_SUFFIX = 20_000;

/** The body of a request at `position` of a text of `length`; `slice` reads from it. */
export function requestAt(slice, position, length, n = 1) {
  const begin = Math.max(0, position - MAX_PREFIX);
  return {
    prefix: wellFormed(slice(begin, position)),
    suffix: wellFormed(slice(position, Math.min(length, position + MAX_SUFFIX))),
    n,
    session: "page",
  };
}

/** The choices that say something, each text once. */
export function distinct(choices) {
  const texts = new Set([""]);
  return choices.filter((choice) => !texts.has(choice.text) && texts.add(choice.text));
}

/** The tokens of a choice with the part of the text that `start` leaves, each with its index. */
export function tokensFrom(choice, start) {
  const tokens = choice.tokens.length ? choice.tokens : [{ text: choice.text }];
  const left = [];
  let begin = 0;
  tokens.forEach((token, index) => {
    const end = begin + token.text.length;
    if (end > Math.max(begin, start)) left.push({ index, token, text: token.text.slice(Math.max(0, start - begin)) });
    begin = end;
  });
  return left;
}

/** The source that gave most of a token's probability. */
export function proposerOf(token) {
  const shares = Object.entries(token.shares ?? {});
  if (!shares.length) return "words";
  return shares.reduce((best, each) => (each[1] > best[1] ? each : best))[0];
}

/** What a sitting has saved: characters that did not have to be typed. */
export class Sitting {
  typed = 0;
  accepted = 0;
  acceptances = 0;

  type(text) {
    this.typed += text.replace(/\s/g, "").length;
  }

  accept(text) {
    this.accepted += text.replace(/\s/g, "").length;
    this.acceptances += 1;
  }

  get characters() {
    return this.typed + this.accepted;
  }

  /** Share of the characters that were saved, less a keystroke for each acceptance. */
  get share() {
    return this.characters ? Math.max(0, this.accepted - this.acceptances) / this.characters : 0;
  }
}
