// The page of `vmc play`: what the server tells is shown, what the person does is sent.

import { Connection } from "./connection.js";
import { drawPicture } from "./drawing.js";
import { Inside } from "./inside.js";
import { Hands, takesKeys } from "./keys.js";
import { note } from "./notes.js";
import { runCards, showMoments } from "./runs.js";

const byId = (id) => document.getElementById(id);
const show = (ids, shown) => ids.forEach((id) => (byId(id).hidden = !shown));
const PANELS = { environment: "environment", "V's reconstruction": "reconstruction", "M's dream": "dream" };
const CANVASES = Object.fromEntries(
  Object.entries(PANELS).map(([name, id]) => [name, byId(`panel-${id}`).querySelector("canvas")]),
);

const state = { run: null, view: null, begun: null, pressed: new Map(), number: 0, latencies: [], drawn: 0, told: 0 };
window.vmc = state; // for tests and the curious

const send = (type, fields) => connection.send(type, fields);
const hands = new Hands(byId("keys"), (key, strength) => {
  state.number += 1;
  state.pressed.set(state.number, performance.now());
  send("press", { key, strength, number: state.number });
});
const inside = new Inside({
  drag: (index, value, held) => send("drag", { index, value, held }),
  lookAt: (index) => send("look-at", { index }),
});
const connection = new Connection({ onView, onEvent: (event) => EVENTS[event.type](event), onClose });

function onClose() {
  state.closed = true;
  document.body.dataset.world = "none";
  for (const control of document.querySelectorAll("button, input, select")) control.disabled = true;
  if (state.done) return;
  byId("where").textContent = "Disconnected";
  note("The server has ended, or cannot be reached. Start it again, then reload this page.", { kind: "error" });
}

// Views

// Pictures are drawn at every frame, numbers and plots less often: they are read, not followed.
const TELL_EVERY = 60; // ms
let pending = null;

function onView(view) {
  if (pending) send("ready"); // a newer one has come before it was drawn
  else requestAnimationFrame(draw);
  pending = view;
}

function draw() {
  if (state.closed) return;
  const view = pending, before = state.view;
  state.view = view;
  pending = null;
  for (const [name, canvas] of Object.entries(CANVASES)) {
    if (!view.parts[name]) continue;
    drawPicture(canvas, view.parts[name]);
    canvas.parentElement.classList.remove("empty");
  }
  takeTime(view);
  inside.remember(view);
  if (view.paused || view.ended || view.world !== before?.world || performance.now() - state.told > TELL_EVERY) {
    state.told = performance.now();
    showWorld(view);
    showNumbers(view);
    inside.draw(view);
  }
  state.drawn += 1;
  send("ready");
}

function showWorld({ world, ended, parts, dream_steps, paused, step }) {
  const asleep = world === "dream", here = byId(asleep ? "panel-dream" : "panel-environment");
  document.body.dataset.world = world;
  const waits = state.collect && paused && step === 0;
  byId("where").textContent = waits ? "Press space to begin" : asleep ? "In M's dream" : "In the real environment";
  byId("sleep").firstChild.textContent = asleep ? "Wake up " : "Fall asleep ";
  byId("align").disabled = byId("save").disabled = asleep;
  for (const figure of document.querySelectorAll(".panels figure")) figure.classList.toggle("here", figure === here);
  for (const id of ["environment", "reconstruction"]) byId(`panel-${id}`).classList.toggle("waits", asleep);
  show(["panel-reconstruction", "panel-dream"], asleep || "M's dream" in parts);
  byId("dream-age").textContent = dream_steps ? `, ${dream_steps} steps since it saw a real frame` : "";
  if (ended && here !== byId("ended").parentElement) here.append(byId("ended"));
  if (ended) {
    const who = asleep ? "M ended the dream." : state.collect ? "The episode has ended, and is saved." : "The environment ended the episode.";
    byId("ended-text").textContent = ended === "terminated" ? who : "The time limit is reached.";
    show(["ended-wake"], asleep);
  }
  byId("ended").hidden = !ended;
}

function showNumbers(view) {
  byId("step").textContent = view.step;
  byId("return").textContent = view.return.toFixed(1);
  byId("who").textContent = view.driver === "person" ? "you" : "C";
  const speed = `${view.rate.toFixed(0)} of ${byId("speed").value} steps/s`;
  byId("rate").textContent = view.paused ? "paused" : speed;
  byId("pause").firstChild.textContent = view.paused ? "Go on " : "Pause ";
  byId("record").setAttribute("aria-pressed", view.recording);
  byId("record").firstChild.textContent = view.recording ? "Stop recording " : "Record ";
  if (state.latencies.length) byId("latency").textContent = `${Math.round(median(state.latencies.slice(-20)))} ms`;
}

// From a key to the frame that shows it; keys that nothing waits for are not counted.
function takeTime(view) {
  if (view.paused || view.ended) state.pressed.clear();
  for (const [number, time] of state.pressed) {
    if (number > view.input) continue;
    state.pressed.delete(number);
    state.latencies.push(performance.now() - time);
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// Events

const EVENTS = {
  welcome: ({ runs, collect }) => {
    state.runs = runs ?? [];
    if (collect) {
      state.collect = true;
      return send("begin", { run: collect });
    }
    byId("run").replaceChildren(...state.runs.map(({ name }) => new Option(name)));
    const given = new URLSearchParams(location.search);
    if (given.has("run")) begin(fromLink(given));
    else if (state.runs.length === 1) begin({ run: state.runs[0].name });
    else choose();
  },
  loading: ({ run }) => {
    show(["chooser"], false);
    byId("where").textContent = `Loading ${run} …`;
    state.loading = setTimeout(() => {
      byId("where").textContent += " Some environments are compiled once on a machine: about a minute.";
    }, 4000);
  },
  opened: (run) => {
    clearTimeout(state.loading);
    state.run = run;
    show(["stage", "run-choice", "share"], true);
    byId("run").value = run.run;
    byId("sleep").disabled = Boolean(run.no_reality);
    byId("driver").disabled = !run.has_controller;
    byId("speed").max = Math.max(120, run.steps_per_second);
    byId("speed").value = run.steps_per_second;
    byId("legend").hidden = !run.lines;
    setDream(run);
    setDriver(run.has_controller ? "controller" : "person");
    if (run.no_reality) note(`Only the dream can be played. ${run.no_reality}`, { kind: "error" });
    hands.use(run.keys);
    inside.use(run);
    showMoments(byId("starts"), run, (start) => begin({ world: "dream", start }));
  },
  begun: (told) => {
    state.begun = told;
    show(["chooser"], false);
    show(["stage"], true);
    byId("seed").value = told.seed;
    inside.forget();
    for (const canvas of Object.values(CANVASES)) canvas.parentElement.classList.add("empty");
    history.replaceState(null, "", link());
  },
  collecting: (told) => {
    show(["stage"], true);
    byId("stage").classList.add("collecting");
    show(["sleep", "align", "driver", "save", "starts-section", "new", "ended-new", "record", "format"], false);
    for (const id of ["temperature", "sampled", "seed"]) byId(id).closest("label").hidden = true;
    document.querySelector(".inside").hidden = true;
    show(["ended-next"], true);
    byId("ended-again").firstChild.textContent = "Drop it and drive again ";
    byId("speed").value = told.steps_per_second;
    hands.use(told.keys);
  },
  collects: ({ number, episodes }) => {
    byId("episode").textContent = `episode ${number} of ${episodes}`;
  },
  finished: () => {
    state.done = true;
    document.title = byId("where").textContent = "Done: all episodes are there";
    show(["ended"], false);
  },
  recorded: ({ file }) => note("The video is ready: ", { link: { label: file, address: `videos/${file}` } }),
  saved: ({ file, steps, human_steps }) => {
    if (!state.collect) note(`${steps} steps, ${human_steps} of them yours, are saved in ${file}.`, { stays: true, about: file });
  },
  refused: ({ message }) => {
    state.done = true;
    byId("where").textContent = message;
  },
  error: ({ message }) => {
    clearTimeout(state.loading);
    note(message, { kind: "error" });
    if (!state.view) choose();
  },
};

// Shows the runs to choose from.
function choose() {
  state.linked = null;
  byId("where").textContent = state.collect ? "This page cannot collect" : "";
  show(["chooser"], !state.collect);
  show(["stage"], false);
  byId("runs").replaceChildren(
    ...runCards(state.runs, (run) => {
      history.pushState(null, "", `?run=${encodeURIComponent(run)}`);
      begin({ run });
    }),
  );
}

// Beginnings and links

function begin(fields) {
  send("begin", {
    run: state.run?.run,
    world: state.begun?.world ?? "reality",
    seed: Math.max(0, Math.floor(Number(byId("seed").value)) || 0),
    ...(state.run ? dream() : {}),
    ...fields,
  });
}

const dream = () => ({ temperature: Number(byId("temperature").value), sample_termination: byId("sampled").checked });

function link() {
  const { seed, start, world } = state.begun, { temperature, sample_termination } = dream();
  const query = new URLSearchParams({ run: state.run.run, world, seed, temperature, sampled: Number(sample_termination) });
  if (start !== null) query.set("start", start);
  return `?${query}`;
}

function fromLink(given) {
  const number = (name, low, high) => {
    if (!given.has(name)) return undefined;
    const value = parseFloat(given.get(name));
    if (value >= low && value <= high) return value;
    note(`The link's ${name} is ${given.get(name)}; it must be from ${low} to ${high}.`, { kind: "error" });
    return undefined;
  };
  const sampled = given.has("sampled") ? given.get("sampled") === "1" : undefined, world = given.get("world") ?? "reality";
  state.linked = { temperature: number("temperature", 0.1, 3), sample_termination: sampled };
  const start = world === "dream" ? number("start", 0, 1e6) : undefined;
  return { run: given.get("run"), world, seed: number("seed", 0, 1e9) ?? 0, start, ...state.linked };
}

// Controls

function setDream(run) {
  byId("temperature").value = state.linked?.temperature ?? run.temperature;
  byId("sampled").checked = state.linked?.sample_termination ?? run.sample_termination;
  byId("temperature-value").textContent = Number(byId("temperature").value).toFixed(2);
  state.linked = null;
}

function setDriver(who) {
  state.driver = who;
  byId("driver").firstChild.textContent = who === "person" ? "You drive " : "C drives ";
  byId("driver").setAttribute("aria-pressed", who === "person");
}

function sendDream() {
  byId("temperature-value").textContent = dream().temperature.toFixed(2);
  send("dreaming", dream());
  history.replaceState(null, "", link());
}

const again = () => {
  inside.forget();
  send("again");
};
const fresh = () => {
  byId("seed").value = Number(byId("seed").value) + 1;
  begin({ world: state.view?.world, start: undefined });
};
const sleepOrWake = () => send(state.view?.world === "dream" ? "wake-up" : "fall-asleep");
const ACTIONS = {
  sleep: sleepOrWake,
  "ended-wake": sleepOrWake,
  align: () => send("align"),
  pause: () => send("pause", { paused: !state.view?.paused }),
  once: () => send("step"),
  again,
  "ended-again": again,
  "ended-next": () => send("next"),
  new: fresh,
  "ended-new": fresh,
  driver: () => {
    setDriver(state.driver === "person" ? "controller" : "person");
    send("drive", { who: state.driver });
  },
  record: () => send("record", state.view?.recording ? {} : { format: byId("format").value }),
  save: () => send("save"),
  share: async () => {
    const address = new URL(link(), location.href).href, entered = state.view?.world !== state.begun.world;
    const where = entered ? " It leads to the real episode: a dream that you fell into is not in it." : "";
    try {
      await navigator.clipboard.writeText(address);
      note(`The link is copied.${where}`);
    } catch {
      note(`${address}${where}`, { stays: true });
    }
  },
};
for (const [id, act] of Object.entries(ACTIONS)) byId(id).addEventListener("click", act);

const SHORTCUTS = { " ": "pause", ".": "once", r: "again", n: "new", z: "sleep", c: "driver", v: "record" };
addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase(), id = key === "n" && state.collect ? "ended-next" : SHORTCUTS[key];
  if (!id || event.repeat || event.ctrlKey || event.metaKey || event.altKey || hands.knows(key)) return;
  if (takesKeys(event.target) || (key === " " && event.target instanceof HTMLButtonElement)) return;
  event.preventDefault();
  if (!byId(id).disabled && !byId(id).hidden) ACTIONS[id]();
});

byId("run").addEventListener("change", () => begin({ run: byId("run").value, world: "reality", temperature: undefined, sample_termination: undefined, start: undefined }));
byId("seed").addEventListener("change", () => begin({}));
byId("speed").addEventListener("input", () => send("speed", { steps: Number(byId("speed").value) }));
byId("temperature").addEventListener("input", sendDream);
byId("sampled").addEventListener("change", sendDream);
for (const name of ["environment", "M's dream"]) hands.dragOn(CANVASES[name]);

// Whoever used a control by mouse or finger, or confirmed a number, goes on to drive: the keys are the page's again.
addEventListener("click", (event) => event.detail && event.target.closest("button, input:not([type=number])")?.blur());
addEventListener("change", (event) => event.target.matches("select") && event.target.blur());
byId("seed").addEventListener("keydown", (event) => event.key === "Enter" && byId("seed").blur());
addEventListener("popstate", () => location.reload());
document.addEventListener("visibilitychange", () => {
  if (document.hidden && state.view && !state.view.paused && !state.view.ended) send("pause", { paused: true });
});
