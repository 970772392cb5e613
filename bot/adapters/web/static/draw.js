(event, ...rest) => {
  // Names a press of Draw, so that the same press sent twice is one job; where the form fills the screen, shows the answer.
  if (matchMedia("(max-width: 860px)").matches) {
    document.querySelector(".ez-results")?.scrollIntoView({ behavior: "smooth" });
  }
  const bytes = Array.from(crypto.getRandomValues(new Uint8Array(12)));
  return [bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(""), ...rest];
}
