// The page of `vmc play`: what the server tells is shown, what the person does is sent.

import { Connection } from "./connection.js";
import { drawPicture } from "./drawing.js";
import { Inside } from "./inside.js";
import { Hands, takesArrows } from "./keys.js";

const byId = (id) => document.getElementById(id);
const PANELS = { environment: "environment", "V's reconstruction": "reconstruction", "M's dream": "dream" };
const CANVASES = Object.fromEntries(
  Object.entries(PANELS).map(([name, id]) => [name, byId(`panel-${id}`).querySelector("canvas")]),
);

const state = { run: null, view: null, pressed: new Map(), number: 0, latencies: [], drawn: 0, told: 0 };
window.vmc = state; // for tests and the curious

const send = (type, fields) => connection.send(type, fields);
const hands = new Hands(byId("keys"), (key, strength) => {
  state.number += 1;
  state.pressed.set(state.number, performance.now());
  send("press", { key, strength, number: state.number });
});
const inside = new Inside({
  drag: (index, value) => send("drag", { index, value }),
  lookAt: (index) => send("look-at", { index }),
});
const connection = new Connection({ onView, onEvent, onClose: () => note("The server has ended. Start `vmc play` again, then reload.", "error") });

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
  const view = (state.view = pending);
  pending = null;
  for (const [name, canvas] of Object.entries(CANVASES)) {
    if (view.parts[name]) drawPicture(canvas, view.parts[name]);
  }
  takeTime(view);
  inside.remember(view);
  if (view.paused || view.ended || performance.now() - state.told > TELL_EVERY) {
    state.told = performance.now();
    showWorld(view);
    showNumbers(view);
    inside.draw(view);
  }
  state.drawn += 1;
  send("ready");
}

function showWorld({ world, ended, parts, dream_steps }) {
  const asleep = world === "dream";
  document.body.dataset.world = world;
  byId("where").textContent = asleep ? "In M's dream" : "In the real environment";
  byId("sleep").firstChild.textContent = asleep ? "Wake up " : "Fall asleep ";
  byId("align").disabled = byId("save").disabled = asleep;
  byId("panel-dream").classList.toggle("here", asleep);
  byId("panel-environment").classList.toggle("here", !asleep);
  for (const id of ["environment", "reconstruction"]) byId(`panel-${id}`).classList.toggle("waits", asleep);
  byId("panel-reconstruction").hidden = byId("panel-dream").hidden = !asleep && !("M's dream" in parts);
  byId("dream-age").textContent = dream_steps ? `of the same actions, for ${dream_steps} steps` : "";
  byId("ended").hidden = !ended;
  if (ended) {
    byId("ended").querySelector("strong").textContent = `The ${asleep ? "dream" : "episode"} has ended`;
    byId("ended").querySelector("span").textContent = ended === "terminated" ? "(terminated)." : "(time limit).";
  }
}

function showNumbers(view) {
  byId("step").textContent = view.step;
  byId("return").textContent = view.return.toFixed(1);
  byId("who").textContent = view.driver === "person" ? "you" : "C";
  byId("rate").textContent = view.paused ? "paused" : `${view.rate.toFixed(0)} steps/s`;
  byId("pause").firstChild.textContent = view.paused ? "Go on " : "Pause ";
  byId("record").setAttribute("aria-pressed", view.recording);
  byId("record").firstChild.textContent = view.recording ? "Stop recording " : "Record ";
  if (state.latencies.length) byId("latency").textContent = `${Math.round(median(state.latencies.slice(-20)))} ms`;
}

// From a key to the frame that shows it.
function takeTime(view) {
  for (const [number, time] of state.pressed) {
    if (number > view.input) continue;
    state.pressed.delete(number);
    if (!view.paused) state.latencies.push(performance.now() - time);
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// Events

const EVENTS = {
  welcome: ({ runs, collect, episodes }) => {
    if (collect) {
      state.collect = true;
      return send("begin", { run: collect });
    }
    byId("run").replaceChildren(...runs.map(({ name }) => new Option(name)));
    const given = new URLSearchParams(location.search);
    if (given.has("run")) return begin(fromLink(given));
    if (runs.length === 1) return begin({ run: runs[0].name });
    byId("chooser").hidden = false;
    byId("where").textContent = "";
    byId("runs").replaceChildren(...runs.map(card));
  },
  loading: ({ run }) => {
    byId("where").textContent = `Loading ${run} …`;
    state.loading = setTimeout(() => {
      byId("where").textContent += " Some environments are compiled once on a machine: about a minute.";
    }, 4000);
  },
  opened: (run) => {
    clearTimeout(state.loading);
    state.run = run;
    byId("chooser").hidden = true;
    for (const id of ["stage", "run-choice", "share"]) byId(id).hidden = false;
    byId("run").value = run.run;
    byId("sleep").disabled = Boolean(run.no_reality);
    byId("driver").disabled = !run.has_controller;
    byId("speed").value = run.steps_per_second;
    byId("speed").max = Math.max(120, run.steps_per_second);
    setDream(run);
    setDriver(run.has_controller ? "controller" : "person");
    if (run.no_reality) note(run.no_reality, "error");
    hands.use(run.keys);
    inside.use(run);
    showStarts(run);
  },
  collecting: (told) => {
    byId("stage").hidden = false;
    byId("stage").classList.add("collecting");
    for (const id of ["sleep", "align", "driver", "save", "starts-section", "new"]) byId(id).hidden = true;
    for (const element of document.querySelectorAll(".inside, #temperature, #sampled, #seed")) (element.closest("label") ?? element).hidden = true;
    byId("speed").value = told.steps_per_second;
    byId("ended-new").hidden = true;
    hands.use(told.keys);
    note("Press space to begin. An episode is saved when it ends; Again (r) drops one that goes badly.");
  },
  begun: (told) => {
    state.begun = told;
    byId("seed").value = told.seed;
    history.replaceState(null, "", link());
  },
  recorded: ({ file }) => note("The video is ready: ", "", file, `videos/${file}`),
  saved: ({ file, steps }) => note(`${steps} steps are saved in ${file}.`),
  finished: () => note("All episodes are there. You can close this page."),
  error: ({ message }) => note(message, "error"),
};

function onEvent(event) {
  EVENTS[event.type](event);
}

function card({ name, env, score }) {
  const item = document.createElement("li"), button = document.createElement("button");
  const picture = new Image(), title = document.createElement("strong"), text = document.createElement("span");
  picture.src = `starts.png?run=${encodeURIComponent(name)}`;
  picture.alt = "";
  title.textContent = name;
  text.textContent = score ? `${env}, ${score}` : env;
  button.type = "button";
  button.append(picture, title, text);
  button.addEventListener("click", () => begin({ run: name }));
  item.append(button);
  return item;
}

function showStarts({ run, starts }) {
  const source = `starts.png?run=${encodeURIComponent(run)}`, picture = new Image();
  picture.onload = () => {
    const width = Math.round((picture.naturalWidth / starts.length) * (66 / picture.naturalHeight));
    byId("starts").replaceChildren(
      ...starts.map((start, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.style.width = `${width}px`;
        button.style.backgroundImage = `url("${source}")`;
        button.style.backgroundPosition = `${-index * width}px 0`;
        button.setAttribute("aria-label", `Dream from recorded moment ${start}`);
        button.title = `moment ${start}`;
        button.addEventListener("click", () => begin({ world: "dream", start }));
        return button;
      }),
    );
  };
  picture.src = source;
}

function note(text, kind = "", label = "", address = "") {
  const box = document.createElement("div");
  box.className = kind;
  box.textContent = text;
  if (address) {
    const anchor = document.createElement("a");
    anchor.href = address;
    anchor.download = anchor.textContent = label;
    box.append(anchor);
  }
  byId("notes").append(box);
  setTimeout(() => box.remove(), address ? 60_000 : 12_000);
}

// Beginnings and links

function begin(fields) {
  inside.forget();
  send("begin", {
    run: state.run?.run,
    world: state.begun?.world ?? "reality",
    seed: Number(byId("seed").value),
    ...(state.run ? { temperature: Number(byId("temperature").value), sample_termination: byId("sampled").checked } : {}),
    ...fields,
  });
}

function link() {
  const { seed, start, world } = state.begun;
  const query = new URLSearchParams({
    run: state.run.run,
    world,
    seed,
    temperature: byId("temperature").value,
    sampled: Number(byId("sampled").checked),
  });
  if (start !== null) query.set("start", start);
  return `?${query}`;
}

function fromLink(given) {
  const fields = { run: given.get("run"), world: given.get("world") ?? "reality", seed: Number(given.get("seed") ?? 0) };
  if (given.has("start")) fields.start = Number(given.get("start"));
  if (given.has("temperature")) fields.temperature = Number(given.get("temperature"));
  if (given.has("sampled")) fields.sample_termination = given.get("sampled") === "1";
  state.linked = fields;
  return fields;
}

// Controls

function setDream(run) {
  const { temperature, sample_termination } = { ...run, ...state.linked };
  state.linked = null;
  byId("temperature").value = temperature;
  byId("sampled").checked = sample_termination;
  byId("temperature-value").textContent = Number(byId("temperature").value).toFixed(2);
}

function setDriver(who) {
  state.driver = who;
  byId("driver").firstChild.textContent = who === "person" ? "You drive " : "C drives ";
  byId("driver").setAttribute("aria-pressed", who === "person");
}

function sendDream() {
  const temperature = Number(byId("temperature").value);
  byId("temperature-value").textContent = temperature.toFixed(2);
  send("dreaming", { temperature, sample_termination: byId("sampled").checked });
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
const ACTIONS = {
  sleep: () => send(state.view?.world === "dream" ? "wake-up" : "fall-asleep"),
  align: () => send("align"),
  pause: () => send("pause", { paused: !state.view?.paused }),
  once: () => send("step"),
  again,
  new: fresh,
  "ended-again": again,
  "ended-new": fresh,
  driver: () => {
    setDriver(state.driver === "person" ? "controller" : "person");
    send("drive", { who: state.driver });
  },
  record: () => send("record", state.view?.recording ? {} : { format: byId("format").value }),
  save: () => send("save"),
  share: async () => {
    const address = new URL(link(), location.href).href;
    try {
      await navigator.clipboard.writeText(address);
      note("The link is copied.");
    } catch {
      note(address);
    }
  },
};
for (const [id, act] of Object.entries(ACTIONS)) byId(id).addEventListener("click", act);

const SHORTCUTS = { " ": "pause", ".": "once", r: "again", n: "new", z: "sleep", c: "driver", v: "record" };
addEventListener("keydown", (event) => {
  const id = SHORTCUTS[event.key];
  if (!id || event.repeat || event.ctrlKey || event.metaKey || event.altKey || hands.knows(event.key)) return;
  if (takesArrows(event.target) || (event.key === " " && event.target instanceof HTMLButtonElement)) return;
  event.preventDefault();
  if (!byId(id).disabled && !byId(id).hidden) ACTIONS[id]();
});

byId("run").addEventListener("change", () => begin({ run: byId("run").value, world: "reality", temperature: undefined, sample_termination: undefined, start: undefined }));
byId("seed").addEventListener("change", () => begin({}));
byId("speed").addEventListener("input", () => send("speed", { steps: Number(byId("speed").value) }));
byId("temperature").addEventListener("input", sendDream);
byId("sampled").addEventListener("change", sendDream);
// A slider that was moved by mouse or finger gives the arrow keys back to driving.
for (const id of ["speed", "temperature", "sampled"]) byId(id).addEventListener("pointerup", () => byId(id).blur());
for (const name of ["environment", "M's dream"]) hands.dragOn(CANVASES[name]);
document.addEventListener("visibilitychange", () => {
  if (document.hidden && state.view && !state.view.paused) send("pause", { paused: true });
});
