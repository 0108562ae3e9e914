// The plugin: an inline completion provider, and an item in the status bar.

import { KERNEL_EXPRESSION, readKernel, requestBody } from "./notebook.js";

const KERNEL_MS = 400;
/** After this time the kernel is asked again: a page may miss a restart by somebody else. */
const FRESH_MS = 2000;
const QUIET_MS = 5000;

/** Names and columns of the kernels that the person allows to ask. */
class Kernels {
  known = new WeakMap();

  async of(kernel) {
    if (!kernel) return {};
    let state = this.known.get(kernel);
    if (!state) {
      state = { isStale: true, askedAt: 0, values: {} };
      this.known.set(kernel, state);
      // Silent executions, such as ours, have no execute_input.
      kernel.iopubMessage.connect((_, message) => (state.isStale ||= message.header.msg_type === "execute_input"));
      kernel.statusChanged.connect((_, status) => {
        if (/starting|dead|terminating/.test(status)) Object.assign(state, { isStale: true, values: {} });
      });
    }
    const isFresh = !state.isStale && performance.now() - state.askedAt < FRESH_MS;
    if (isFresh || kernel.status !== "idle") return state.values;
    state.askedAt = performance.now();
    const asked = kernel.requestExecute({ code: "", silent: true, store_history: false, user_expressions: { codeling: KERNEL_EXPRESSION } });
    const late = new Promise((resolve) => setTimeout(resolve, KERNEL_MS, null));
    const reply = await Promise.race([asked.done, late]).catch(() => null);
    if (reply?.content?.status === "ok") {
      state.isStale = false;
      state.values = readKernel(reply.content.user_expressions?.codeling?.data?.["text/plain"]);
    }
    return state.values;
  }
}

function provider({ ServerConnection }, status) {
  const kernels = new Kernels();
  const settings = ServerConnection.makeSettings();
  let isKernelAllowed = false;
  let quietUntil = 0;
  let running = null;

  async function ask(body, signal) {
    const began = performance.now();
    const url = `${settings.baseUrl}codeling/complete`;
    const response = await ServerConnection.makeRequest(url, { method: "POST", body: JSON.stringify(body), signal }, settings);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message ?? `status ${response.status}`);
    const [choice] = answer.choices;
    status.show(`${(performance.now() - began).toFixed(0)} ms`, choice.text ? `${choice.proposer === "words" ? "a word of the notebook" : mainSource(choice)}` : "nothing suggested");
    return choice.text;
  }

  return {
    identifier: "codeling",
    name: "codeling",
    schema: {
      type: "object",
      properties: {
        useKernel: {
          title: "Use names and data frame columns of the running kernel",
          description: "The names of variables and the column names of data frames are read from the kernel and sent to your codeling server. Values are not.",
          type: "boolean",
        },
      },
      default: { useKernel: false },
    },
    configure(values) {
      isKernelAllowed = values.useKernel === true;
    },
    async fetch(request, context) {
      const isInvoked = context.triggerKind === 0;
      if (!isInvoked && performance.now() < quietUntil) return { items: [] };
      running?.abort();
      const { signal } = (running = new AbortController());
      try {
        const { cells, active } = cellsOf(context.widget);
        const kernel = isKernelAllowed ? await kernels.of(context.session?.kernel) : {};
        const insertText = await ask(requestBody(cells, active, request.text, request.offset, kernel), signal);
        return { items: insertText ? [{ insertText }] : [] };
      } catch (error) {
        if (!signal.aborted) {
          quietUntil = performance.now() + QUIET_MS; // a stopped server is not asked at each key
          status.show("no suggestions", error.message);
        }
        return { items: [] };
      }
    },
  };
}

/** The source that gave most of a suggestion, over its tokens. */
function mainSource({ tokens }) {
  const totals = {};
  for (const token of tokens) for (const [name, share] of Object.entries(token.shares)) totals[name] = (totals[name] ?? 0) + share;
  const best = Object.entries(totals).sort((a, b) => b[1] - a[1])[0]?.[0];
  return { model: "from the model", document: "from the notebook", project: "from the project", corpus: "from the training corpus" }[best] ?? "";
}

/** The cells of a notebook; a console or a file is one cell of its own. */
function cellsOf(widget) {
  const notebook = widget?.content;
  if (!notebook?.widgets || notebook.activeCellIndex === undefined) return { cells: [], active: 0 };
  const cells = notebook.widgets.map(({ model }) => ({
    kind: model.type,
    source: model.sharedModel.getSource(),
    count: model.type === "code" ? model.executionCount : null,
  }));
  return { cells, active: notebook.activeCellIndex };
}

function statusItem({ Widget }) {
  const item = new Widget();
  item.addClass("jp-StatusBar-TextItem");
  item.node.textContent = "codeling";
  item.node.title = "codeling suggests as you type";
  return {
    item,
    show(text, detail) {
      item.node.textContent = `codeling: ${text}`;
      item.node.title = detail;
    },
  };
}

export function createPlugin(lab) {
  return {
    id: "codeling:plugin",
    description: "Ghost text from your own codeling model.",
    autoStart: true,
    requires: [lab.ICompletionProviderManager],
    optional: [lab.IStatusBar],
    activate(app, manager, statusBar) {
      const status = statusItem(lab);
      manager.registerInlineProvider(provider(lab, status));
      statusBar?.registerStatusItem("codeling:status", { item: status.item, align: "right", rank: 30 });
    },
  };
}
