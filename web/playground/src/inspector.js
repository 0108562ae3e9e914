// The panel beside the editor: the suggestion token by token, and what is known of the chosen one.

import { proposerOf } from "./suggestion.js";
import { element, percent, tokenLabel, visible } from "./text.js";

export const SOURCE_NAMES = {
  model: "the model",
  document: "this file",
  project: "the project",
  corpus: "the training corpus",
  words: "a word of this file",
};

/** Renders into `root`; `onChoose` is called with the index of a token that is looked into. */
export class Inspector {
  constructor(root, sources) {
    this.root = root;
    this.sources = sources;
    this.clear("No suggestion at the cursor yet.");
  }

  clear(message) {
    this.choice = null;
    this.root.replaceChildren(element("p", { class: "quiet" }, message));
  }

  /** Show `choice`, number `number` of `total`. */
  show(choice, number, total) {
    if (choice === this.choice && total === this.total && number === this.number) return;
    const isSame = choice === this.choice;
    Object.assign(this, { choice, number, total });
    const sure = choice.probability === null ? "" : `${percent(choice.probability)} sure`;
    const place = total > 1 ? `alternative ${number} of ${total}` : "Alt ] shows alternatives";
    const head = element("p", { class: "quiet" }, [sure, place].filter(Boolean).join(" · "));
    this.details = element("div", { class: "details", id: "token-details" });
    if (!choice.tokens.length) {
      this.root.replaceChildren(head, element("p", {}, element("code", {}, visible(choice.text)), ` is ${SOURCE_NAMES[choice.proposer] ?? "a suggestion"}.`));
      return;
    }
    this.buttons = choice.tokens.map((token, index) => this.#button(token, index));
    // The first tokens may only write the text before the cursor again.
    this.buttons.forEach((button, index) => (button.hidden = !choice.tokens[index].text));
    const list = element("div", { class: "tokens", role: "group", "aria-label": "Tokens of the suggestion" }, ...this.buttons);
    list.addEventListener("keydown", (event) => this.#move(event));
    this.root.replaceChildren(head, list, this.#legend(), this.details, ...this.#spans());
    this.choose(isSame ? this.chosen : this.#leastSure());
  }

  choose(index) {
    if (!this.choice?.tokens[index]) return;
    this.chosen = index;
    this.buttons.forEach((button, number) => {
      button.setAttribute("aria-pressed", String(number === index));
      button.tabIndex = number === index ? 0 : -1;
    });
    this.details.replaceChildren(...this.#details(this.choice.tokens[index]));
  }

  #leastSure() {
    const all = this.choice.tokens.map((token) => (token.text ? (token.probability ?? 1) : Infinity));
    return all.indexOf(Math.min(...all));
  }

  #button(token, index) {
    const name = tokenLabel(token.text || token.token);
    return element(
      "button",
      {
        type: "button",
        class: `token by-${proposerOf(token)}`,
        "aria-pressed": "false",
        onclick: () => this.choose(index),
      },
      element("bdi", {}, name),
      " ",
      element("small", {}, percent(token.probability ?? 0)),
      element("span", { class: "unseen" }, ` from ${SOURCE_NAMES[proposerOf(token)]}`),
    );
  }

  #move(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const seen = this.buttons.map((_, index) => index).filter((index) => !this.buttons[index].hidden);
    this.choose(seen[(seen.indexOf(this.chosen) + step + seen.length) % seen.length]);
    this.buttons[this.chosen].focus();
  }

  #legend() {
    const entries = this.sources.map((name) => element("span", {}, element("i", { class: `by-${name}` }), SOURCE_NAMES[name]));
    return element("p", { class: "key" }, ...entries);
  }

  #details(token) {
    const shares = Object.entries(token.shares).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
    const bar = element("div", { class: "share-bar", "aria-hidden": "true" }, ...shares.map(([name, share]) => sized(`by-${name}`, share)));
    const said = shares.map(([name, share]) => `${SOURCE_NAMES[name]} ${percent(share)}`).join(", ");
    const rows = token.top.map(([name, probability]) =>
      element(
        "tr",
        { class: name === token.token ? "picked" : undefined },
        element("th", { scope: "row" }, element("code", {}, element("bdi", {}, tokenLabel(name)))),
        element("td", { class: "number" }, percent(probability, 1)),
        element("td", { class: "meter" }, sized("fill", probability)),
      ),
    );
    return [
      element("p", {}, element("code", {}, element("bdi", {}, tokenLabel(token.token))), " comes from ", said, "."),
      bar,
      element("table", {}, element("caption", {}, "Most likely here"), element("tbody", {}, ...rows)),
    ];
  }

  #spans() {
    if (!this.choice.spans.length) return [];
    const items = this.choice.spans.map((span) => {
      const place = `${visible(span.path ?? "this file")}, ${lines(span.start_line, span.end_line)}`;
      return element("li", {}, element("code", {}, element("bdi", {}, tokenLabel(span.text.trim()))), ` as in ${place}`);
    });
    return [element("h3", {}, "Seen before"), element("ul", { class: "plain" }, ...items)];
  }
}

export function lines(first, last) {
  return first === last ? `line ${first}` : `lines ${first} to ${last}`;
}

/** A bar; widths are set by script, since the policy of the page forbids style attributes. */
function sized(className, share) {
  const bar = element("i", { class: className });
  bar.style.width = percent(share, 1).replace(" ", "");
  return bar;
}
