// The page: it takes the token from the address, asks what the model is, and builds the views.

import "./style.css";
import { ServerError, get, post, setToken, takeToken } from "./api.js";
import { tokenCut } from "./cut.js";
import { createEditor } from "./editor.js";
import { Inspector } from "./inspector.js";
import { createPlayback } from "./playback_view.js";
import { provenance } from "./provenance.js";
import { Sitting } from "./suggestion.js";
import { element, percent, visible } from "./text.js";

const EXAMPLE = `import json
from pathlib import Path


class Stack:
    """Last in, first out."""

    def __init__(self):
        self.items = []

    def push(self, item):
        `;

const byId = (id) => document.getElementById(id);
const announce = (text) => {
  byId("announcer").textContent = text;
};

/** Ask until the server accepts the token. */
async function readAbout() {
  for (;;) {
    try {
      return await get("playground/about");
    } catch (error) {
      if (!(error instanceof ServerError) || error.status !== 401) throw error;
      await unlock();
    }
  }
}

function unlock() {
  const dialog = byId("unlock");
  byId("unlock-error").textContent = sessionStorage.length ? "The server did not accept this token." : "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        setToken(byId("token").value);
        byId("token").value = "";
        resolve();
      },
      { once: true },
    );
  });
}

function showAbout(about) {
  byId("model").textContent = visible(about.model);
  const beside = about.sources.slice(1).map((name) => ({ document: "the open file", project: "the project", corpus: "the training corpus" })[name] ?? name);
  const parts = [
    `Context of ${about.context_length.toLocaleString("en")} tokens, vocabulary of ${about.vocab_size.toLocaleString("en")}`,
    beside.length ? `memory of ${beside.join(" and ")}` : "no memory",
    about.has_provenance ? "places in the training data" : "no provenance index",
  ];
  byId("summary").textContent = `${parts.join(" · ")}.`;
  document.title = `${about.model} · codeling playground`;
  byId("pages").replaceChildren(...about.pages.map((page) => element("a", { href: page.path, target: "_blank", rel: "noopener" }, page.title)));
}

function setUpTabs(onOpen) {
  const tabs = [byId("tab-write"), byId("tab-playback")];
  const select = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    onOpen(chosen.getAttribute("aria-controls"));
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = tabs[1 - index];
      other.focus();
      select(other);
    });
  });
}

function setUpWriting(about) {
  const sitting = new Sitting();
  const latency = byId("latency");
  const failed = (error) => {
    latency.textContent = error.message;
    latency.className = "failed";
  };
  const inspector = new Inspector(byId("suggestion"), about.sources);
  const cut = tokenCut(failed);
  const extensions = [cut.extension];
  if (about.has_provenance) extensions.push(provenance(byId("sources"), about.min_lexemes, failed));
  else byId("sources").append(element("p", { class: "quiet" }, "This model has no provenance index, so the page cannot show where a passage comes from."));

  function showSaved() {
    if (!sitting.characters) return;
    byId("saved").textContent = `${percent(sitting.share)} of ${sitting.characters} characters saved`;
  }

  const { view, act } = createEditor(byId("editor"), EXAMPLE, extensions, {
    typed(text) {
      sitting.type(text);
      showSaved();
    },
    accepted(text) {
      sitting.accept(text);
      showSaved();
    },
    answered(ms, choice) {
      latency.className = "";
      const read = choice.num_prompt - choice.num_reused;
      latency.textContent = choice.num_prompt ? `${ms.toFixed(0)} ms · read ${read} of ${choice.num_prompt} tokens` : `${ms.toFixed(0)} ms`;
    },
    shown(choice, number, total) {
      inspector.show(choice, number, total);
      byId("actions").hidden = false;
      announce(`Suggestion: ${visible(choice.text)}`);
    },
    nothing() {
      inspector.clear("Nothing is suggested here.");
      byId("actions").hidden = true;
      announce("");
    },
    chosen: (token) => inspector.choose(token),
    failed,
  });
  for (const button of byId("actions").children) button.addEventListener("click", () => act(button.id));
  byId("cut").addEventListener("change", (event) => cut.toggle(view, event.target.checked));
  return view;
}

async function main() {
  takeToken();
  try {
    const about = await readAbout();
    showAbout(about);
    const openPlayback = createPlayback(byId("playback"), (error) => {
      byId("playback").textContent = error.message;
    });
    setUpTabs((name) => name === "playback" && openPlayback());
    const view = setUpWriting(about);
    view.focus();
    performance.mark("usable");
    if (about.pages.length) await post("playground/open"); // lets this browser read the pages
  } catch (error) {
    byId("summary").textContent = error.message;
    byId("summary").className = "summary failed";
  }
}

main();
