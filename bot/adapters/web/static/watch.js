// Notices that the page was cut off, by a network that broke or a computer that slept, and brings it up to date. Where
// Gradio notices by itself, it loads the page anew; so texts that were typed are kept over that.
const shown = () => element.querySelector("[data-seen]")?.dataset.seen;
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
let looking = false;
let tries = 0;

const look = async () => {
  if (looking || document.hidden) return;
  looking = true;
  try {
    const before = shown();
    const answer = await fetch("/seen", { cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.status === 401) return location.assign("/");
    const now = await answer.text();
    await pause(3);
    // A page that is being kept up to date has moved on by now.
    if (!answer.ok || shown() !== before || shown() === now) {
      tries = 0;
    } else if (tries++ < 1) {
      trigger("again");
    } else {
      location.reload();
    }
  } catch {
    // Nobody answers: the next look will tell.
  } finally {
    looking = false;
  }
};

setInterval(() => document.querySelector(".ez-job") && look(), 5000);
document.addEventListener("visibilitychange", look);
addEventListener("online", look);
document.addEventListener("click", (click) => click.target.closest("#draw, [data-do]") && pause(8).then(look));

const DRAFT = "easel-draft";
const texts = () => [...document.querySelectorAll("#panel-draw textarea")].filter((text) => text.closest("[id]"));
const nameOf = (text) => text.closest("[id]").id;
addEventListener("pagehide", () => {
  const typed = texts().map((text) => [nameOf(text), text.value]);
  sessionStorage.setItem(DRAFT, JSON.stringify(Object.fromEntries(typed)));
});
const draft = JSON.parse(sessionStorage.getItem(DRAFT) || "{}");
sessionStorage.removeItem(DRAFT);
const restore = () => {
  for (const text of texts()) {
    const typed = draft[nameOf(text)];
    delete draft[nameOf(text)];
    if (!typed || typed === text.value) continue;
    text.value = typed;
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }
};
if (performance.getEntriesByType("navigation")[0]?.type === "reload") {
  restore();
  // What is folded away is made when it is unfolded.
  document.addEventListener("click", (click) => click.target.closest(".label-wrap") && pause(0.2).then(restore));
}
