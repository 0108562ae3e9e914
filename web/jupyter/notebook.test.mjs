// The pure part of the JupyterLab extension; `make web` runs it.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  KERNEL_EXPRESSION,
  earlierCells,
  kernelText,
  readKernel,
  requestBody,
} from "../../src/codeling/serving/jupyter/labextension/static/notebook.js";

const code = (source, count = null) => ({ kind: "code", source, count });
const markdown = (source) => ({ kind: "markdown", source, count: null });

test("cells come in the order in which they were run, then those above that were not", () => {
  const cells = [code("a = 1", 4), code("b = 2", 2), code("not_run = 3"), code("active"), code("below", 3), code("below, not run")];
  assert.deepEqual(earlierCells(cells, 3), ["b = 2", "below", "a = 1", "not_run = 3"]);
});

test("markdown is a comment before its cell, also before the active one", () => {
  const cells = [markdown("# Load\nthe data"), code("load()", 1), markdown("Then plot"), code("")];
  assert.deepEqual(earlierCells(cells, 3), ["# # Load\n# the data", "load()", "# Then plot"]);
});

test("magics and cells of other languages are comments", () => {
  const cells = [code("%matplotlib inline\n!ls\nx = 5 % 3", 1), code("%%bash\nls\nrm x", 2), code("")];
  assert.deepEqual(earlierCells(cells, 2), ["# %matplotlib inline\n# !ls\nx = 5 % 3", "# %%bash\n# ls\n# rm x"]);
});

test("a request is the notebook up to the cursor, and the rest of its cell", () => {
  const body = requestBody([code("import os", 1), code("os.pa\nx")], 1, "os.pa\nx", 5, {});
  assert.deepEqual(body, { prefix: "import os\n\nos.pa", suffix: "\nx" });
  assert.deepEqual(requestBody([], 0, "x = ", 4, {}), { prefix: "x = ", suffix: "" });
  const long = requestBody([code("y = 1\n".repeat(100_000), 1), code("")], 1, "z", 1, {});
  assert.ok(long.prefix.length < 61_000 && long.prefix.endsWith("\n\nz"));
});

test("columns become code that a memory can continue, and odd ones stay strings", () => {
  const text = kernelText({ names: ["df", "model"], frames: { df: ["price", 'a "b"', "1st"] } });
  assert.deepEqual(text.split("\n"), ["# df model", "df.price", 'df["price"]', 'df["a \\"b\\""]', 'df["1st"]']);
  assert.equal(kernelText({}), "");
  const many = kernelText({ frames: { df: Array.from({ length: 5000 }, (_, n) => `column_${n}`) } });
  assert.ok(many.length <= 8000 && many.endsWith('"]') | many.endsWith("9"));
});

test("an answer of a kernel that is not ours says nothing", () => {
  const values = { names: ["größe"], frames: { df: ["<b>"] } };
  const hex = [...new TextEncoder().encode(JSON.stringify(values))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  assert.deepEqual(readKernel(`'${hex}'`), values);
  for (const text of [undefined, "", "NameError", "'zz'"]) assert.deepEqual(readKernel(text), {});
  assert.ok(!KERNEL_EXPRESSION.includes("\n"));
});
