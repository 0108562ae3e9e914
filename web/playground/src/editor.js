// The editor: it asks for a suggestion in each pause, and shows it as ghost text.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput } from "@codemirror/language";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap } from "@codemirror/view";
import { post } from "./api.js";
import { code } from "./appearance.js";
import { accept, acceptGhost, dismiss, ghostField, showGhost } from "./ghost.js";
import { distinct, requestAt } from "./suggestion.js";
import { lineLength, wordLength } from "./text.js";

const PAUSE_MS = 120;
const NUM_ALTERNATIVES = 5;

/**
 * An editor in `parent`. `listener` has the methods `typed`, `accepted`, `answered(ms, choice)`,
 * `shown(choice, number, total)`, `nothing()`, `chosen(token)` and `failed(error)`.
 */
export function createEditor(parent, doc, extensions, listener) {
  let timer = 0;
  let running = null;
  let choices = [];
  let current = 0;
  let hasAll = false;

  function cancel() {
    clearTimeout(timer);
    running?.abort();
    running = null;
  }

  async function ask(view, n) {
    cancel();
    running = new AbortController();
    const { signal } = running;
    const { doc, selection } = view.state;
    const position = selection.main.head;
    const body = requestAt((from, to) => doc.sliceString(from, to), position, doc.length, n);
    const began = performance.now();
    try {
      const answer = await post("playground/complete", body, signal);
      if (signal.aborted || view.state.doc !== doc || view.state.selection.main.head !== position) return;
      choices = distinct(answer.choices);
      hasAll = n > 1;
      listener.answered(performance.now() - began, answer.choices[0]);
      show(view, hasAll && choices.length > 1 ? 1 : 0, position);
    } catch (error) {
      if (error.name !== "AbortError") listener.failed(error);
    }
  }

  function show(view, index, position) {
    current = index;
    const choice = choices[index];
    view.dispatch({ effects: showGhost.of(choice ? { choice, position, start: 0 } : null) });
    if (choice) listener.shown(choice, index + 1, hasAll ? choices.length : 0);
    else listener.nothing();
  }

  const turn = (step) => (view) => {
    const ghost = view.state.field(ghostField);
    if (!ghost) return false;
    if (!hasAll || ghost.start) ask(view, NUM_ALTERNATIVES);
    else show(view, (current + step + choices.length) % choices.length, ghost.position);
    return true;
  };

  const keys = [
    { key: "Tab", run: accept((text) => text.length) },
    ...["Ctrl-ArrowRight", "Alt-ArrowRight"].map((key) => ({ key, run: accept(wordLength) })),
    ...["Ctrl-ArrowDown", "Alt-ArrowDown"].map((key) => ({ key, run: accept(lineLength) })),
    { key: "Alt-]", run: turn(1), preventDefault: true },
    { key: "Alt-[", run: turn(-1), preventDefault: true },
    { key: "Alt-\\", run: (view) => (ask(view, 1), true), preventDefault: true },
    { key: "Escape", run: (view) => (cancel(), dismiss(view)) },
  ];

  const watcher = EditorView.updateListener.of((update) => {
    const had = update.startState.field(ghostField);
    const ghost = update.state.field(ghostField);
    for (const transaction of update.transactions) {
      const part = transaction.effects.find((effect) => effect.is(acceptGhost));
      if (part) listener.accepted(part.value);
      else if (transaction.isUserEvent("input.type")) {
        transaction.changes.iterChanges((_, __, ___, ____, inserted) => listener.typed(inserted.toString()));
      }
    }
    if (!update.docChanged) {
      if (had && !ghost && update.selectionSet) listener.nothing();
      if (update.selectionSet) cancel();
      return;
    }
    if (ghost) return; // what is typed agrees with it
    cancel();
    const isUser = update.transactions.some((each) => each.isUserEvent("input") || each.isUserEvent("delete"));
    if (isUser && update.state.selection.main.empty) timer = setTimeout(() => ask(update.view, 1), PAUSE_MS);
  });

  const view = new EditorView({
    parent,
    doc,
    selection: { anchor: doc.length },
    extensions: [
      Prec.highest(keymap.of(keys)),
      keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
      history(),
      code,
      drawSelection(),
      bracketMatching(),
      indentOnInput(),
      highlightActiveLine(),
      ghostField,
      watcher,
      EditorState.allowMultipleSelections.of(false),
      EditorView.contentAttributes.of({ "aria-label": "Python code", spellcheck: "false", autocapitalize: "off" }),
      EditorView.domEventHandlers({
        mousedown(event) {
          const token = event.target.closest?.("[data-token]");
          if (!token) return false;
          listener.chosen(Number(token.dataset.token));
          return true;
        },
      }),
      extensions,
    ],
  });
  /** The same as the keys, for a pointer or a finger. */
  const actions = {
    accept: accept((text) => text.length),
    "accept-word": accept(wordLength),
    "accept-line": accept(lineLength),
    another: turn(1),
  };
  return { view, act: (name) => (actions[name](view), view.focus()) };
}
