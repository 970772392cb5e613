// Gives presses on [data-do] to Gradio: `fill` changes the form, `press` is a command. What can't be undone asks twice.
const newEvent = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const disarm = (button) => {
  button.classList.remove("ez-armed");
  button.textContent = button.dataset.label;
};

element.addEventListener("click", (click) => {
  const button = click.target.closest("[data-do]");
  if (!button || !element.contains(button)) return;
  if (button.dataset.do === "uncover") {
    button.closest(".ez-spoiler").classList.remove("ez-spoiler");
    return;
  }
  if (button.dataset.sure && !button.classList.contains("ez-armed")) {
    button.dataset.label = button.textContent;
    button.textContent = button.dataset.sure;
    button.classList.add("ez-armed");
    setTimeout(() => button.classList.contains("ez-armed") && disarm(button), 5000);
    return;
  }
  if (button.dataset.sure) disarm(button);
  const data = { ...button.dataset, event: newEvent() };
  const field = button.parentElement.querySelector("[data-field]");
  if (field) data[field.dataset.field] = field.value;
  const fills = ["seed", "remix"].includes(data.do);
  trigger(fills ? "fill" : "press", data);
  if (fills) {
    const prompt = document.querySelector("#prompt textarea");
    prompt?.scrollIntoView({ block: "center", behavior: "smooth" });
    prompt?.focus({ preventScroll: true });
  }
});

// Pictures come and go above what somebody has unfolded or is writing. Gradio goes by places; this goes by what it is.
const nameOf = (part) => {
  const { job, number } = part.closest("[data-job]")?.dataset ?? {};
  return `${job}/${number}`;
};
const unfolded = new Set();
const written = new Map();
element.addEventListener("toggle", ({ target }) => unfolded[target.open ? "add" : "delete"](nameOf(target)), true);
element.addEventListener("input", ({ target }) => target.dataset.field && written.set(nameOf(target), target.value));
watch("value", () => {
  for (const part of element.querySelectorAll("details")) part.open = unfolded.has(nameOf(part));
  for (const field of element.querySelectorAll("[data-field]")) field.value = written.get(nameOf(field)) ?? "";
});

// A picture that is no longer kept has its description in its place.
element.addEventListener("error", ({ target }) => target.tagName === "IMG" && target.classList.add("ez-gone"), true);
