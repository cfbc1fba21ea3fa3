// What V, M and C hold: latents that can be dragged, M's mixture, its memory, C's outputs, and plots over time.

import { HISTORY, colour, drawBars, drawDensity, drawLines, drawStrip, short } from "./drawing.js";

const REACH = 4; // a latent is drawn from -4 to 4
const byId = (id) => document.getElementById(id);

export class Inside {
  // `drag(index, value)` sets a latent; `lookAt(index)` chooses the mixture that is shown.
  constructor({ drag, lookAt }) {
    this.drag = drag;
    this.lookAt = lookAt;
    this.canvas = byId("latents");
    this.chosen = 0;
    this.mask = [];
    this.forget();
    this.listen();
  }

  use({ latent_mask, features }) {
    this.mask = latent_mask;
    this.memory = Object.keys(features)[0];
    byId("memory-name").textContent = this.memory ?? "";
    byId("memory").parentElement.hidden = this.memory === undefined;
    this.choose(Math.max(0, latent_mask.indexOf(true)));
  }

  // Empties the plots.
  forget() {
    this.series = { reward: [], expected: [], return: [], termination: [], surprise: [] };
    this.step = -1;
  }

  remember(view) {
    if (view.step < this.step || view.world !== this.world) this.forget();
    this.world = view.world;
    if (view.step === this.step || view.step === 0) return;
    this.step = view.step;
    const values = {
      reward: view.reward,
      expected: view.expected_reward,
      return: view.return,
      termination: view.termination,
      surprise: view.surprise,
    };
    for (const [name, value] of Object.entries(values)) {
      this.series[name].push(value);
      if (this.series[name].length > HISTORY) this.series[name].shift();
    }
  }

  draw(view) {
    const { z, density } = view.parts;
    if (z) this.drawLatents(z);
    const mixture = byId("mixture");
    mixture.parentElement.hidden = !density;
    if (density) drawDensity(mixture, density, view.mixture.low, view.mixture.high, z[view.mixture.index]);
    const memory = view.parts[`feature.${this.memory}`];
    if (memory) drawStrip(byId("memory"), memory, memory.length > 64 ? 8 : 1);
    if (view.outputs) {
      const values = [...view.outputs, ...view.action];
      const inks = values.map((_, index) => colour(index < view.outputs.length ? "faint" : "real"));
      const { context, height, step } = drawBars(byId("outputs"), values, 1, inks, 16);
      context.fillStyle = colour("faint");
      context.fillText("outputs", 4, height - 4);
      context.fillText("action", view.outputs.length * step + 4, height - 4);
    }
    const { reward, expected, termination, surprise } = this.series, real = colour("real"), m = colour("expected");
    drawLines(byId("plot-reward"), [{ values: reward, ink: real }, { values: expected, ink: m }], { low: 0, high: 0.1 });
    drawLines(byId("plot-return"), [{ values: this.series.return, ink: real }], { low: 0, high: 1 });
    drawLines(byId("plot-termination"), [{ values: termination, ink: m }], { low: 0, high: 1 });
    byId("plot-surprise").parentElement.hidden = surprise.every((value) => value === null);
    drawLines(byId("plot-surprise"), [{ values: surprise, ink: m }]);
  }

  drawLatents(z) {
    this.z = z;
    const inks = [...z].map((_, index) => colour(this.mask[index] ? "bar" : "unused"));
    inks[this.chosen] = colour("real");
    const { context, height, step } = drawBars(this.canvas, [...z], REACH, inks);
    context.fillStyle = colour("unused");
    context.globalAlpha = 0.45;
    this.mask.forEach((used, index) => used || context.fillRect(index * step + step * 0.12, 0, step * 0.76, height));
    context.globalAlpha = 1;
    const value = z[this.chosen];
    const unused = this.mask[this.chosen] ? "" : " (V does not use it)";
    byId("latent-value").textContent = `z${this.chosen} = ${short(value)}${unused}`;
    this.canvas.setAttribute("aria-valuenow", value.toFixed(2));
    this.canvas.setAttribute("aria-valuetext", `latent ${this.chosen}: ${value.toFixed(2)}`);
  }

  choose(index) {
    this.chosen = index;
    byId("mixture-name").textContent = `z${index}`;
    this.lookAt(index);
  }

  listen() {
    const canvas = this.canvas;
    let held = false;
    const follow = (event) => {
      const box = canvas.getBoundingClientRect();
      const value = REACH * (1 - (2 * (event.clientY - box.top)) / box.height);
      this.value = Math.max(-REACH, Math.min(REACH, value));
      this.drag(this.chosen, this.value, true);
    };
    canvas.addEventListener("pointerdown", (event) => {
      const box = canvas.getBoundingClientRect();
      const index = Math.floor(((event.clientX - box.left) / box.width) * this.mask.length);
      this.choose(Math.max(0, Math.min(this.mask.length - 1, index)));
      held = this.mask[this.chosen];
      if (!held) return;
      canvas.setPointerCapture(event.pointerId);
      follow(event);
    });
    canvas.addEventListener("pointermove", (event) => held && follow(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, () => {
        if (held) this.drag(this.chosen, this.value, false);
        held = false;
        canvas.blur(); // the arrow keys drive again
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const size = this.mask.length, moves = { ArrowLeft: -1, ArrowRight: 1 }, changes = { ArrowUp: 0.25, ArrowDown: -0.25 };
      if (event.key in moves) this.choose((this.chosen + moves[event.key] + size) % size);
      else if (event.key in changes && this.mask[this.chosen]) this.drag(this.chosen, this.z[this.chosen] + changes[event.key], false);
      else return;
      event.preventDefault();
    });
  }
}
