// Places of the text's passages in the training data: marks in the margin, and a list.

import { RangeSet, StateEffect, StateField } from "@codemirror/state";
import { EditorView, GutterMarker, ViewPlugin, gutter } from "@codemirror/view";
import { post } from "./api.js";
import { lines } from "./inspector.js";
import { element, percent, visible, wellFormed } from "./text.js";

const MAX_CHARACTERS = 200_000;
const PAUSE_MS = 700;
const MAX_SHOWN = 8;
const setMarks = StateEffect.define();

class SourceMarker extends GutterMarker {
  constructor(index) {
    super();
    this.index = index;
  }

  eq(other) {
    return other.index === this.index;
  }

  toDOM() {
    return element("span", { class: "source-mark", title: "This line is also in the training data" });
  }
}

const marksField = StateField.define({
  create: () => RangeSet.empty,
  update(marks, transaction) {
    const found = transaction.effects.find((effect) => effect.is(setMarks));
    return found ? found.value : marks.map(transaction.changes);
  },
});

/** Looks up the text in pauses and shows the matches in `root`. */
export function provenance(root, minLexemes, onError) {
  let timer = 0;
  let view = null;
  let matches = [];

  function say(message) {
    root.replaceChildren(element("p", { class: "quiet" }, message));
  }

  async function lookUp() {
    const doc = view.state.doc;
    const [begin, end] = excerpt(view);
    const text = doc.sliceString(begin, end);
    if (!text.trim()) return render([], begin, doc);
    try {
      const answer = await post("playground/trace", { text: wellFormed(text) });
      if (view.state.doc === doc) render(answer.matches, begin, doc);
    } catch (error) {
      onError(error);
    }
  }

  function render(found, begin, doc) {
    const first = doc.lineAt(begin).number - 1;
    matches = found.map((match) => ({ ...match, begin: match.text_start_line + first, end: match.text_end_line + first }));
    const ranges = new Map();
    matches.forEach((match, index) => {
      for (let line = match.begin; line <= Math.min(match.end, doc.lines); line += 1) {
        if (!ranges.has(line)) ranges.set(line, new SourceMarker(index).range(doc.line(line).from));
      }
    });
    view.dispatch({ effects: setMarks.of(RangeSet.of([...ranges.values()], true)) });
    if (!matches.length) {
      return say(`No passage of ${minLexemes} or more words and signs of this text is in the training data.`);
    }
    const items = matches.slice(0, MAX_SHOWN).map((match) => entry(match, () => select(match)));
    const more = matches.length - items.length;
    root.replaceChildren(
      element("ul", { class: "plain matches" }, ...items),
      ...(more > 0 ? [element("p", { class: "quiet" }, `and ${more} more`)] : []),
    );
  }

  function select(match) {
    const { doc } = view.state;
    const from = doc.line(Math.min(match.begin, doc.lines)).from;
    const to = doc.line(Math.min(match.end, doc.lines)).to;
    view.dispatch({ selection: { anchor: from, head: to }, scrollIntoView: true });
    view.focus();
  }

  const plugin = ViewPlugin.define((created) => {
    view = created;
    say("Looking it up …");
    timer = setTimeout(lookUp, 0);
    return {
      update(update) {
        if (!update.docChanged) return;
        clearTimeout(timer);
        timer = setTimeout(lookUp, PAUSE_MS);
      },
      destroy: () => clearTimeout(timer),
    };
  });
  const margin = gutter({
    class: "source-gutter",
    markers: (each) => each.state.field(marksField),
    initialSpacer: () => new SourceMarker(-1),
    domEventHandlers: {
      mousedown(each, line) {
        const number = each.state.doc.lineAt(line.from).number;
        const match = matches.find((one) => one.begin <= number && number <= one.end);
        root.querySelector(`[data-match="${matches.indexOf(match)}"]`)?.scrollIntoView({ block: "nearest" });
        return false;
      },
    },
  });
  return [marksField, margin, plugin];
}

/** Begin and end of the lines around the cursor that are looked up. */
function excerpt(view) {
  const { doc, selection } = view.state;
  if (doc.length <= MAX_CHARACTERS) return [0, doc.length];
  const half = MAX_CHARACTERS / 2 - 1;
  const begin = doc.lineAt(Math.max(0, selection.main.head - half));
  const end = doc.lineAt(Math.min(doc.length, selection.main.head + half));
  const from = begin.from < selection.main.head - half ? Math.min(begin.to + 1, doc.length) : begin.from;
  return [from, Math.max(from, end.to > selection.main.head + half ? end.from : end.to)];
}

function entry(match, onclick) {
  const place = `${visible(match.path)}:${match.start_line}-${match.end_line}`;
  const isLink = /^https?:\/\//.test(match.url);
  return element(
    "li",
    {},
    element("button", { type: "button", class: "link", onclick }, `${lines(match.begin, match.end)}`),
    " ",
    element("b", {}, element("bdi", {}, visible(match.repository))),
    element("br"),
    isLink
      ? element("a", { href: match.url, target: "_blank", rel: "noopener noreferrer" }, element("bdi", {}, place))
      : element("bdi", {}, place),
    element("br"),
    element(
      "span",
      { class: "quiet" },
      element("bdi", {}, visible(match.license) || "licence unknown"),
      ` · ${percent(match.share)} of the text`,
      match.max_occurrences > 1 ? ` · one of ${match.max_occurrences} places` : "",
    ),
  );
}
