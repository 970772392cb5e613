// Notices that the page was cut off, by a network that broke or a computer that slept, and brings it up to date. Where
// Gradio notices by itself, it loads the page anew; so texts that were typed are kept over that.
const shown = () => element.querySelector("[data-seen]")?.dataset.seen;
watch("value", () => (document.documentElement.lang = element.querySelector("[data-seen]")?.lang || "en"));
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
let looking = false;
let tries = 0;

const ask = async (again = 6) => {
  try {
    return await fetch("/seen", { cache: "no-store", signal: AbortSignal.timeout(3000) });
  } catch (error) {
    // A connection that fell silent is taken for a good one until it is given up; the page's own has fallen silent, too.
    if (error.name !== "TimeoutError" || !again) throw error;
    tries = 1;
    return ask(again - 1);
  }
};

const look = async () => {
  if (looking || document.hidden) return;
  looking = true;
  try {
    const before = shown();
    const answer = await ask();
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
const restore = async () => {
  // Fields come one after another, and may still be given their first value.
  for (let round = 0; round < 20; round++, await pause(0.25)) {
    for (const text of texts()) {
      const typed = draft[nameOf(text)];
      if (!typed) continue;
      if (text.value) {
        delete draft[nameOf(text)];
      } else {
        text.value = typed;
        text.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }
  }
};
if (performance.getEntriesByType("navigation")[0]?.type === "reload") {
  restore();
  // What is folded away is made when it is unfolded.
  document.addEventListener("click", (click) => click.target.closest(".label-wrap") && restore());
}
