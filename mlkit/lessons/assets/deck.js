// Breaks what is too long for one slide into several, then starts reveal.js. This is done in
// the browser, because only there is it known how large the text is with the fonts at hand.

const FIGURE = 540; // px of 720: how high a figure is where there is room
const SMALLEST_FIGURE = 360; // below this, it gets a slide of its own

const bodyOf = (slide) => slide.querySelector(".body");
// A heading, or a sentence that ends in a colon, goes with what it announces.
const announces = (block) => block.matches("h3, h4") || /:\s*$/.test(block.textContent);
const overflow = (slide) => bodyOf(slide).scrollHeight - bodyOf(slide).clientHeight - 1;

function breakUp(slide) {
  const blocks = [...bodyOf(slide).children];
  bodyOf(slide).replaceChildren();
  const empty = slide.cloneNode(true);
  blocks.reduce((page, block) => place(block, page, empty), slide);
}

// Put a block on a slide, or on as many as it needs, and give the last of them.
function place(block, page, empty) {
  const body = bodyOf(page);
  const first = body.childElementCount === 0;
  const alone = [...body.children].every(announces);
  body.append(block);
  for (const output of block.querySelectorAll(".output_area")) {
    output.classList.toggle("wide", output.scrollWidth > output.clientWidth + 1);
  }
  const excess = overflow(page);
  if (excess <= 0 || block.matches("aside") || shrinkFigure(block, excess)) return page;
  const tall = leastHeight(block) > body.clientHeight;
  const parts = alone || tall ? split(block) : [];
  if (parts.length) {
    block.remove();
    return parts.reduce((last, part) => place(part, last, empty), page);
  }
  // What cannot be broken scrolls, together with a few lines that stand before it.
  const above = block.offsetTop - body.offsetTop;
  if (first || (tall && above < body.clientHeight / 3)) return page;
  return place(block, nextPage(page, block, empty), empty);
}

function nextPage(page, block, empty) {
  const next = empty.cloneNode(true);
  page.after(next);
  block.remove();
  block.classList.remove("fragment"); // alone on a slide, it need not wait for another press
  const left = bodyOf(page);
  while (left.childElementCount > 1 && announces(left.lastElementChild)) {
    bodyOf(next).prepend(left.lastElementChild);
  }
  return next;
}

// Figures are drawn for a page; a slide shows them larger.
function enlargeFigure(image) {
  const widest = image.closest(".body").clientWidth;
  const scale = Math.min(FIGURE / image.naturalHeight, widest / image.naturalWidth);
  image.style.height = `${Math.floor(scale * image.naturalHeight)}px`;
}

function leastHeight(block) {
  const figure = block.querySelector("img");
  return block.offsetHeight - (figure ? Math.max(0, figure.offsetHeight - SMALLEST_FIGURE) : 0);
}

function shrinkFigure(block, excess) {
  const figure = block.querySelector("img");
  const height = figure ? figure.offsetHeight - excess : 0;
  if (height < SMALLEST_FIGURE) return false;
  figure.style.height = `${height}px`;
  return true;
}

// The parts at which a block may be broken: the items of a list, the pieces of a cell.
function split(block) {
  if (block.matches("ul, ol")) {
    const start = block.start ?? 1;
    return [...block.children].map((item, i) => {
      const list = block.cloneNode(false);
      if (block.matches("ol")) list.start = start + i;
      list.append(item);
      return list;
    });
  }
  return block.matches("div:not(.highlight, .output_area)") ? [...block.children] : [];
}

// Share a section's minutes among its slides, for the clock of the speaker view.
function shareTime(stack) {
  for (const [minutes, kind] of [
    [stack.dataset.practice, ".exercise"],
    [stack.dataset.talk, ":not(.exercise)"],
  ]) {
    const slides = stack.querySelectorAll(`:scope > ${kind}`);
    for (const slide of slides) {
      slide.dataset.timing = Math.round(((minutes ?? 0) * 60) / slides.length);
    }
  }
}

// Words that stand alone are written larger.
function fillRoom(slide) {
  const body = bodyOf(slide);
  if (body.querySelector("pre, table, img, details")) return;
  body.classList.add("roomy");
  if (overflow(slide) > 0) body.classList.remove("roomy");
}

function markScrolling() {
  for (const slide of document.querySelectorAll("section:has(> .body)")) {
    // Slides that are not shown have no size, and keep the mark they have.
    if (slide.clientHeight) bodyOf(slide).classList.toggle("scrolls", overflow(slide) > 0);
  }
}

// A hint that is opened may need more room than there is.
function showHint(event) {
  markScrolling();
  event.target.scrollIntoView({ block: "nearest" });
}

addEventListener("load", async () => {
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  document.querySelectorAll(".output_area img").forEach(enlargeFigure);
  document.querySelectorAll("section:has(> .body)").forEach(breakUp);
  document.querySelectorAll("section:has(> .body)").forEach(fillRoom);
  document.querySelectorAll(".slides > section").forEach(shareTime);
  markScrolling();
  document.body.classList.remove("measuring");
  document.addEventListener("toggle", showHint, true);
  Reveal.initialize({
    width: 1280,
    height: 720,
    margin: 0,
    center: false,
    display: "flex",
    transition: "none",
    hash: true,
    navigationMode: "linear", // the right arrow never skips a slide
    controlsTutorial: false,
    slideNumber: "c/t",
    scrollActivationWidth: null,
    defaultTiming: 0, // switches on the pace in the speaker view
    plugins: [RevealNotes],
  });
});
