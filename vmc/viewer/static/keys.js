// A person's hands: keyboard, mouse and touch become key presses with a strength.

const LEFT = "ArrowLeft", RIGHT = "ArrowRight", UP = "ArrowUp", DOWN = "ArrowDown";
const SIGNS = { [LEFT]: "←", [RIGHT]: "→", [UP]: "↑", [DOWN]: "↓" };
const FULL_DRAG = 70; // pixels from where the finger went down to a fully pressed key

export class Hands {
  // `press(key, strength)` is called for every change.
  constructor(box, press) {
    this.box = box;
    this.press = press;
    this.strengths = {};
    this.buttons = {};
    addEventListener("keydown", (event) => this.onKey(event, 1));
    addEventListener("keyup", (event) => this.onKey(event, 0));
    addEventListener("blur", () => this.releaseAll());
  }

  // The keys of an environment, [{name, label}], each with a button.
  use(keys) {
    this.releaseAll();
    this.buttons = {};
    this.box.replaceChildren(
      ...keys.map(({ name, label }) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = `${SIGNS[name] ?? name.toUpperCase()} ${label}`;
        button.addEventListener("pointerdown", (event) => {
          button.setPointerCapture(event.pointerId);
          this.set(name, 1);
        });
        for (const kind of ["pointerup", "pointercancel"]) button.addEventListener(kind, () => this.set(name, 0));
        button.addEventListener("contextmenu", (event) => event.preventDefault());
        this.buttons[name] = button;
        return button;
      }),
    );
  }

  knows(key) {
    return key in this.buttons;
  }

  onKey(event, strength) {
    if (event.ctrlKey || event.metaKey || event.altKey || takesKeys(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!this.knows(key)) return;
    event.preventDefault();
    if (!event.repeat) this.set(key, strength);
  }

  // Drives by dragging on a canvas: left and right, up and down.
  dragOn(canvas) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [x, y] = [event.clientX - from[0], event.clientY - from[1]].map((way) => way / FULL_DRAG);
      this.set(RIGHT, x);
      this.set(LEFT, -x);
      this.set(UP, -y);
      this.set(DOWN, y);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, () => {
        from = null;
        this.releaseAll();
      });
    }
  }

  set(key, strength) {
    if (!this.knows(key)) return;
    strength = Math.round(20 * Math.max(0, Math.min(1, strength))) / 20;
    if (strength === (this.strengths[key] ?? 0)) return;
    this.strengths[key] = strength;
    this.buttons[key].classList.toggle("pressed", strength > 0);
    this.press(key, strength);
  }

  releaseAll() {
    for (const key of Object.keys(this.strengths)) this.set(key, 0);
  }
}

// Whether an element uses the keys itself.
export function takesKeys(element) {
  return element instanceof HTMLElement && element.matches("input:not([type=checkbox]), select, [role=slider]");
}
