// The WebSocket to the server, and the binary form of a view (vmc/viewer/view.py).

export class Connection {
  constructor({ onView, onEvent, onClose }) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/play`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = async ({ data }) => {
      if (typeof data === "string") onEvent(JSON.parse(data));
      else onView(await decode(data));
    };
    this.socket.onclose = onClose;
  }

  send(type, fields = {}) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...fields }));
  }
}

async function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const view = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let offset = 4 + length;
  view.parts = {};
  for (const { name, kind, shape, bytes } of view.sections) {
    view.parts[name] = await READERS[kind](buffer.slice(offset, offset + bytes), shape);
    offset += bytes;
  }
  return view;
}

const READERS = {
  f32: (bytes) => new Float32Array(bytes),
  u8: (bytes) => new Uint8Array(bytes),
  jpeg: (bytes) => createImageBitmap(new Blob([bytes], { type: "image/jpeg" })),
  rgb: (bytes, [height, width]) => {
    const image = new ImageData(width, height), rgb = new Uint8Array(bytes);
    for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
      image.data[to] = rgb[from];
      image.data[to + 1] = rgb[from + 1];
      image.data[to + 2] = rgb[from + 2];
      image.data[to + 3] = 255;
    }
    return image;
  },
};
