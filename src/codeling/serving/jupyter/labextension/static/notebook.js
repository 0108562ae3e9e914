// The text that a model sees of a notebook, as one Python file. Plain values only: no JupyterLab.

const MAX_CHARACTERS = 60_000;
const MAX_COLUMNS = 200;
const MAX_NAMES = 200;
const MAX_LIST = 8_000;

const asComment = (text) => text.split("\n").map((line) => `# ${line}`.trimEnd()).join("\n");

/** A cell as Python: magics, shell lines and cells of other languages become comments. */
function asPython(source) {
  if (source.startsWith("%%")) return asComment(source);
  return source.replace(/^([ \t]*)([%!?].*)$/gm, "$1# $2");
}

/**
 * The cells that a person has worked on before the cell at `active`, oldest first: those that were
 * run, in the order they were run, then those above it that were not. A Markdown cell belongs to the
 * next code cell. `cells` are `{kind, source, count}`.
 */
export function earlierCells(cells, active) {
  const groups = [];
  let prose = [];
  cells.forEach((cell, index) => {
    if (cell.kind === "markdown") prose.push(asComment(cell.source));
    if (cell.kind !== "code") return;
    groups.push({ index, count: cell.count, text: [...prose, index === active ? "" : asPython(cell.source)] });
    prose = [];
  });
  const own = groups.find((group) => group.index === active);
  const others = groups.filter((group) => group.index !== active);
  const run = others.filter((group) => group.count !== null).sort((a, b) => a.count - b.count);
  const above = others.filter((group) => group.count === null && group.index < active);
  return [...run, ...above, ...(own ? [own] : [])].flatMap((group) => group.text).filter((text) => text.trim());
}

/** Names and columns of a kernel as Python that a memory can continue. */
export function kernelText({ names = [], frames = {} } = {}) {
  const lines = [];
  if (names.length) lines.push(`# ${names.slice(0, MAX_NAMES).join(" ")}`);
  for (const [frame, columns] of Object.entries(frames)) {
    for (const column of columns.slice(0, MAX_COLUMNS)) {
      if (/^[\p{L}_][\p{L}\p{N}_]*$/u.test(column)) lines.push(`${frame}.${column}`);
      lines.push(`${frame}[${JSON.stringify(column)}]`);
    }
  }
  const text = lines.join("\n");
  return text.length > MAX_LIST ? text.slice(0, text.lastIndexOf("\n", MAX_LIST)) : text;
}

/** The body of a request: the notebook up to the cursor, and the rest of its cell. */
export function requestBody(cells, active, text, offset, kernel) {
  const before = [kernelText(kernel), ...earlierCells(cells, active)].filter(Boolean).join("\n\n");
  const prefix = `${before.slice(-MAX_CHARACTERS)}${before ? "\n\n" : ""}${text.slice(0, offset)}`;
  return { prefix, suffix: text.slice(offset) };
}

/** Python that tells names and columns as hexadecimal JSON, and changes nothing in the kernel. */
export const KERNEL_EXPRESSION = `(lambda own: __import__("json").dumps({
 "names": [n for n, v in own if not n.startswith("_") and type(v).__name__ != "module"][:${MAX_NAMES}],
 "frames": {n: [c for c in list(v.columns)[:${MAX_COLUMNS}] if isinstance(c, str)] for n, v in own
            if not n.startswith("_") and type(v).__name__ == "DataFrame" and hasattr(v, "columns")},
}).encode().hex())([(n, v) for n, v in list(globals().items()) if n not in ("In", "Out", "exit", "quit", "get_ipython", "open")])`.replaceAll("\n", "");

/** What the kernel said, from the text of its answer; nothing if it cannot be read. */
export function readKernel(text) {
  const hex = /^'([0-9a-f]*)'$/.exec(text ?? "")?.[1];
  if (!hex) return {};
  const bytes = new Uint8Array(hex.match(/../g).map((pair) => parseInt(pair, 16)));
  return JSON.parse(new TextDecoder().decode(bytes));
}
