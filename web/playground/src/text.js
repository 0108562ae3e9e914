// Text that a person can trust: no character changes the order or the look of the text beside it.

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/** `text` with control characters and marks of direction as visible symbols. */
export function visible(text) {
  return text.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0);
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    return `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

/** A token as one visible word: line ends and spaces at its ends can be seen. */
export function tokenLabel(text) {
  const shown = text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
  return visible(shown) || "(nothing)";
}

/** A string without lone surrogates, which JSON cannot carry as UTF-8. */
export function wellFormed(text) {
  return text.toWellFormed ? text.toWellFormed() : text.replace(/[\ud800-\udfff]/gu, "\ufffd");
}

/** A new element. Children are elements or text, and text stays text. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function percent(share, digits = 0) {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Length of the next word of `text` with the characters before it, at least one character. */
export function wordLength(text) {
  const found = /^\s*(?:[\p{L}\p{N}\p{M}_]+|[^\s])/u.exec(text);
  return found ? found[0].length : text.length;
}

/** Length of the next line of `text` that is not empty. */
export function lineLength(text) {
  const found = /^\n*[^\n]*/.exec(text);
  return found[0].length || text.length;
}
