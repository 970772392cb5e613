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
