// The runs that are offered, and the recorded moments of one, as pictures to choose from.

const address = (run) => `starts.png?run=${encodeURIComponent(run)}`;
const HEIGHT = 66; // of a moment's picture, in pixels

// A card for each run; `choose(name)` is called for the one that is clicked.
export function runCards(runs, choose) {
  return runs.map(({ name, env, score }) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const picture = new Image(), title = document.createElement("strong"), text = document.createElement("span");
    picture.src = address(name);
    picture.alt = "";
    title.textContent = name;
    text.textContent = score ? `${env}, ${score}` : env;
    button.type = "button";
    button.append(picture, title, text);
    button.addEventListener("click", () => choose(name));
    item.append(button);
    return item;
  });
}

// Fills `box` with a button for each recorded moment; `choose(number)` is called for the one that is clicked.
export function showMoments(box, { run, starts }, choose) {
  const picture = new Image();
  box.replaceChildren();
  picture.onload = () => {
    const width = Math.round((picture.naturalWidth / starts.length) * (HEIGHT / picture.naturalHeight));
    box.replaceChildren(
      ...starts.map((start, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.style.width = `${width}px`;
        button.style.backgroundImage = `url("${address(run)}")`;
        button.style.backgroundPosition = `${-index * width}px 0`;
        button.setAttribute("aria-label", `Dream from recorded moment ${start}`);
        button.title = `moment ${start}`;
        button.addEventListener("click", () => choose(start));
        return button;
      }),
    );
  };
  picture.src = address(run);
}
