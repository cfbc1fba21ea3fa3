// Drawing on canvases: pictures, bars, strips and lines, in the colours of the style sheet.

const style = getComputedStyle(document.documentElement);
export const colour = (name) => style.getPropertyValue(`--${name}`).trim();

export function drawPicture(canvas, picture) {
  if (canvas.width !== picture.width) canvas.width = picture.width;
  if (canvas.height !== picture.height) canvas.height = picture.height;
  canvas.style.imageRendering = picture.width <= 128 ? "pixelated" : "auto";
  const context = canvas.getContext("2d");
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
}

// A context whose unit is a CSS pixel, and the canvas's size in it.
export function prepared(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  return { context, width, height };
}

// Bars around a middle line; `inks` has a colour for each. `margin` is left free below them.
export function drawBars(canvas, values, reach, inks, margin = 0) {
  const { context, width, height } = prepared(canvas);
  const step = width / values.length, middle = (height - margin) / 2;
  context.fillStyle = colour("line");
  context.fillRect(0, middle, width, 1);
  values.forEach((value, index) => {
    const size = Math.max(-1, Math.min(1, value / reach)) * (middle - 2); // beyond the reach it is cut
    context.fillStyle = inks[index];
    context.fillRect(index * step + step * 0.12, middle - Math.max(size, 0), step * 0.76, Math.max(1.5, Math.abs(size)));
  });
  return { context, width, height, step };
}

// Bytes as grey squares, in as many rows as make them readable.
export function drawStrip(canvas, bytes, rows) {
  const columns = Math.ceil(bytes.length / rows), image = new ImageData(columns, rows);
  bytes.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  drawPicture(canvas, image);
}

// A history of numbers, or null where there is none, for each of several inks.
export function drawLines(canvas, series, { low, high } = {}) {
  const { context, width, height } = prepared(canvas);
  const known = series.flatMap(({ values }) => values).filter((value) => value !== null);
  if (!known.length) return;
  const bottom = Math.min(low ?? Infinity, ...known), top = Math.max(high ?? -Infinity, ...known);
  const y = (value) => height - 6 - (height - 20) * ((value - bottom) / (top - bottom || 1));
  context.fillStyle = colour("faint");
  context.fillText(short(top), 4, 11);
  context.fillText(short(bottom), 4, height - 3);
  for (const { values, ink } of series) {
    context.strokeStyle = ink;
    context.lineWidth = 1.6;
    context.beginPath();
    let begun = false;
    values.forEach((value, index) => {
      if (value === null) { begun = false; return; }
      const x = 40 + (width - 44) * (index / HISTORY);
      context[begun ? "lineTo" : "moveTo"](x, y(value));
      begun = true;
    });
    context.stroke();
  }
}

// A density over z, and where z was.
export function drawDensity(canvas, density, low, high, z) {
  const { context, width, height } = prepared(canvas);
  const top = Math.max(...density), x = (value) => width * ((value - low) / (high - low));
  context.beginPath();
  const base = height - 14;
  context.moveTo(0, base);
  density.forEach((value, index) => {
    context.lineTo((width * index) / (density.length - 1), base - (base - 4) * (value / top));
  });
  context.lineTo(width, base);
  context.fillStyle = colour("expected");
  context.globalAlpha = 0.35;
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = colour("real");
  context.fillRect(x(z) - 1, 0, 2, base);
  context.fillStyle = colour("faint");
  context.fillText(low.toFixed(1), 2, height - 2);
  context.textAlign = "right";
  context.fillText(high.toFixed(1), width - 2, height - 2);
  context.textAlign = "left";
}

export const HISTORY = 240;
export const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(2));
