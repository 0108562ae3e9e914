// How code looks in every editor of the page; the colours are the variables of the style sheet.

import { HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { python } from "@codemirror/lang-python";
import { EditorState } from "@codemirror/state";
import { EditorView, highlightSpecialChars, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword, tags.moduleKeyword], class: "hl-keyword" },
  { tag: [tags.string, tags.special(tags.string)], class: "hl-string" },
  { tag: tags.comment, class: "hl-comment" },
  { tag: [tags.number, tags.bool, tags.null], class: "hl-number" },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.definition(tags.className)], class: "hl-definition" },
]);

/** CodeMirror adds its rules in a style element, which the policy of the page allows by this. */
const nonce = document.querySelector('meta[name="style-nonce"]')?.content ?? "";

export const code = [
  EditorView.cspNonce.of(nonce),
  lineNumbers(),
  highlightSpecialChars(),
  python(),
  indentUnit.of("    "),
  EditorState.tabSize.of(4),
  syntaxHighlighting(colours),
  EditorView.lineWrapping,
];
