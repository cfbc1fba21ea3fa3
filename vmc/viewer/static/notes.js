// Short messages in a corner: at most a few at once, each with a button that closes it.

const MOST = 3;
const box = document.getElementById("notes");

// `link` is {label, address} of a file to download. What must be read stays until it is closed, or until another
// message is `about` the same.
export function note(text, { kind = "", link = null, stays = kind === "error" || Boolean(link), about = "" } = {}) {
  const message = document.createElement("div"), close = document.createElement("button");
  if (about) [...box.children].find((other) => other.dataset.about === about)?.remove();
  message.dataset.about = about;
  message.className = kind;
  message.append(text);
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link.address;
    anchor.download = anchor.textContent = link.label;
    message.append(anchor);
  }
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close this message");
  close.addEventListener("click", () => message.remove());
  message.append(close);
  box.append(message);
  while (box.children.length > MOST) box.firstChild.remove();
  if (!stays) setTimeout(() => message.remove(), 8000);
}
