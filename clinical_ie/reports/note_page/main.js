// Puts the parts together: what is open, what is selected, keys.
const MODES = ["both", "sides", "predicted", "gold"];
const SHOWN = { both: [[0, 1, 2]], sides: [[1, 2], [0, 2]], predicted: [[0, 2]], gold: [[1, 2]] };
const state = { place: -1, note: null, mode: "both", arcs: false, labels: true, sheets: [], errors: [], error: -1, lit: [], link: null };
let INDEX, notes, documents, filters, searching = 0;

async function open(place, then) {
  state.place = place;
  documents.select(documents.rows.indexOf(place));
  const note = await notes.get(place);
  if (state.place !== place) return; // another was opened meanwhile
  state.note = note;
  state.error = -1;
  state.lit = [];
  state.link = null;
  const [name, length] = INDEX.documents[place];
  byId("name").textContent = name;
  byId("facts").textContent = `${length.toLocaleString("en")} characters${note.remark ? ` · ${note.remark}` : ""}`;
  try { history.replaceState(null, "", `#${encodeURIComponent(name)}`); } catch { /* not where the page is embedded */ }
  draw();
  byId("reading").scrollTop = 0;
  then?.();
}

function draw() {
  const note = state.note;
  if (!note) return;
  const kept = note.mentions.filter((one) => filters.keepsMention(one));
  state.sheets = SHOWN[INDEX.gold ? state.mode : "both"].map((sides, at) => {
    const drawn = sheet(note.text, kept.filter((one) => sides.includes(one.side)));
    const title = state.mode === "sides" && INDEX.gold ? make("h3", {}, ["Gold", "Predicted"][at]) : "";
    return { ...drawn, sides, holder: make("div", { className: "sheet" }, title, drawn.body) };
  });
  byId("sheets").className = `sheets${state.sheets.length > 1 ? " two" : ""}${state.labels ? "" : " plain"}${state.arcs ? " arced" : ""}`;
  byId("sheets").replaceChildren(...state.sheets.map((one) => one.holder));
  markFound(state.sheets, note.text, filters.pattern);
  drawPanel(kept);
  light(state.lit, state.link);
}

function drawPanel(kept) {
  const note = state.note, links = note.links.filter((one) => filters.keepsLink(one));
  const errors = [...kept.filter(isWrong).map((one) => [one.start, "mention", one]), ...links.filter(isWrong).map((one) => [note.mentions[one.head].start, "link", one])];
  errors.sort((a, b) => a[0] - b[0]);
  state.errors = INDEX.gold ? errors : [...kept].sort((a, b) => a.start - b.start).map((one) => [one.start, "mention", one]);
  const ordered = [...kept].sort((a, b) => a.start - b.start || b.end - a.end);
  byId("panel").replaceChildren(
    ...list("Errors", INDEX.gold ? errors : [], ([, kind, one]) => (kind === "mention" ? pairRow(one, note) : linkRow(one, note))),
    ...list("Links", links, (one) => linkRow(one, note)),
    ...list("Mentions", ordered, (one) => mentionRow(one, note.text)));
  if (!kept.length && !links.length) byId("panel").replaceChildren(make("p", { className: "nothing" }, "Nothing is annotated here, or the filters hide it."));
}

// Light mentions, with their links or one link, in the text and in the lists.
function light(places, link = null) {
  state.lit = places;
  state.link = link;
  for (const one of document.querySelectorAll(".lit")) one.classList.remove("lit");
  for (const one of byId("panel").querySelectorAll("[aria-current]")) one.removeAttribute("aria-current");
  for (const { parts } of state.sheets) {
    for (const place of places) for (const piece of parts.get(place) ?? []) piece.classList.add("lit");
  }
  for (const place of link === null ? places : []) {
    for (const row of byId("panel").querySelectorAll(`[data-mention="${place}"]`)) row.setAttribute("aria-current", true);
  }
  if (link !== null) for (const row of byId("panel").querySelectorAll(`[data-link="${link}"]`)) row.setAttribute("aria-current", true);
  for (const { holder, parts, sides } of state.sheets) {
    const all = state.note.links.filter((one) => sides.includes(one.side) && filters.keepsLink(one));
    drawArcs(holder, parts, all.filter((one) => state.arcs || (link === null ? places.includes(one.head) || places.includes(one.tail) : one.place === link)));
  }
}

function goTo(places, link = null) {
  light(places, link);
  for (const { parts } of state.sheets) {
    const piece = parts.get(places[0])?.[0];
    if (piece) { piece.scrollIntoView({ block: "center" }); break; }
  }
  showCurrent();
}

// Scrolls the lists, where they stand beside the text and not below it.
function showCurrent() {
  const panel = byId("panel");
  if (panel.scrollHeight > panel.clientHeight) panel.querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}

function select(kind, one) {
  if (kind === "mention") goTo(one.partner >= 0 ? [one.place, one.partner] : [one.place]);
  else goTo([one.head, one.tail], one.place);
}

function step(by) {
  const at = documents.at + by;
  if (at >= 0 && at < documents.rows.length) open(documents.rows[at]);
}

function stepError(by) {
  const next = state.error < 0 && by < 0 ? -1 : state.error + by;
  if (next >= 0 && next < state.errors.length) {
    state.error = next;
    select(state.errors[next][1], state.errors[next][2]);
    return;
  }
  for (let at = documents.at + by; at >= 0 && at < documents.rows.length; at += by) {
    if (filters.errs(documents.rows[at])) {
      open(documents.rows[at], () => {
        state.error = by > 0 ? -1 : state.errors.length;
        if (state.errors.length) stepError(by);
      });
      return;
    }
  }
}

function refresh() {
  const rows = filters.documents();
  documents.show(rows, state.place);
  byId("about").textContent = `${rows.length.toLocaleString("en")} of ${INDEX.documents.length.toLocaleString("en")} documents`;
  if (rows.length && !rows.includes(state.place)) open(rows[0]);
  else draw();
}

// A search in ids at once, and in texts chunk by chunk, so that the page stays responsive.
async function search(words) {
  const turn = ++searching;
  if (!words) {
    filters.found = filters.pattern = null;
    return refresh();
  }
  const escaped = words.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&").replace(/\s+/g, "\\s+");
  const pattern = new RegExp(escaped.replace(/\\-/g, "-"), "giu"), found = new Set();
  const matches = (text) => { pattern.lastIndex = 0; return pattern.test(text); };
  INDEX.documents.forEach(([name], place) => { if (matches(name)) found.add(place); });
  const parts = words.toLowerCase().split(/\s+/), chunks = notes.starts.length;
  const likely = (text) => { const small = text.toLowerCase(); return parts.every((part) => small.includes(part)); }; // faster than the pattern
  for (let number = 0; number < chunks; number++) {
    const texts = await notes.chunk("texts", number);
    if (turn !== searching) return;
    texts.forEach((text, at) => { if (likely(text) && matches(text)) found.add(notes.starts[number] + at); });
    if (number % 8 === 7) byId("about").textContent = `searching, ${Math.round((100 * number) / chunks)} %`;
  }
  pattern.lastIndex = 0;
  filters.found = found;
  filters.pattern = pattern;
  refresh();
}

function setMode(mode) {
  state.mode = mode;
  for (const button of byId("modes").children) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  draw();
}

function toggle(name) {
  state[name] = !state[name];
  byId(name).setAttribute("aria-pressed", state[name]);
  draw();
}

function openFilters() {
  byId("filtering").setAttribute("aria-pressed", byId("filters").classList.toggle("opened"));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* pages from files may not keep anything */ }
  if (state.note) light(state.lit, state.link);
}

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

const KEYS = {
  j: () => step(1), k: () => step(-1), n: () => stepError(1), p: () => stepError(-1),
  "/": () => { byId("search").focus(); byId("search").select(); },
  "?": () => byId("keys").showModal(),
  g: () => INDEX.gold && setMode(MODES[(MODES.indexOf(state.mode) + 1) % MODES.length]),
  f: openFilters, a: () => toggle("arcs"), l: () => toggle("labels"), t: () => setTheme(isDark() ? "light" : "dark"),
  e: () => INDEX.tables.length && byId("tables").showModal(),
  Escape: () => light([]),
};

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input")) {
      if (event.key === "Escape") { event.target.blur(); byId("reading").focus(); }
      return;
    }
    if (event.target === byId("documents") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      return step(event.key === "ArrowDown" ? 1 : -1);
    }
    if ((event.key === "Enter" || event.key === " ") && event.target.matches(".seg")) {
      event.preventDefault();
      return event.target.click();
    }
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  const places = (target) => { const piece = target.closest?.(".seg, .chip"); return piece ? piece.dataset.m.split(" ").filter(Boolean).map(Number) : null; };
  byId("sheets").addEventListener("click", (event) => {
    const found = places(event.target);
    if (!found?.length) return light([]);
    const smallest = found.map((place) => state.note.mentions[place]).sort((a, b) => (a.end - a.start) - (b.end - b.start));
    light(smallest[0].partner >= 0 ? [smallest[0].place, smallest[0].partner] : [smallest[0].place]);
    showCurrent();
  });
  byId("sheets").addEventListener("mouseover", (event) => {
    const found = places(event.target);
    if (found?.length && !state.lit.length) for (const { parts } of state.sheets) for (const place of found) for (const piece of parts.get(place) ?? []) piece.classList.add("lit");
  });
  byId("sheets").addEventListener("mouseout", () => {
    if (!state.lit.length) for (const piece of byId("sheets").querySelectorAll(".lit")) piece.classList.remove("lit");
  });
  byId("panel").addEventListener("click", (event) => {
    const row = event.target.closest("button");
    if (row?.dataset.mention !== undefined) select("mention", state.note.mentions[row.dataset.mention]);
    if (row?.dataset.link !== undefined) select("link", state.note.links[row.dataset.link]);
    state.error = state.errors.findIndex(([, kind, one]) => row?.dataset[kind] === String(one.place));
  });
  byId("modes").addEventListener("click", (event) => event.target.dataset.mode && setMode(event.target.dataset.mode));
  for (const name of ["arcs", "labels"]) byId(name).addEventListener("click", () => toggle(name));
  byId("filtering").addEventListener("click", openFilters);
  byId("theme").addEventListener("click", KEYS.t);
  byId("help").addEventListener("click", KEYS["?"]);
  byId("report").addEventListener("click", KEYS.e);
  for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());
  let waiting;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => search(event.target.value.trim()), 200);
  });
  addEventListener("resize", () => state.note && light(state.lit, state.link));
}

async function begin() {
  try { const theme = localStorage.getItem("theme"); if (theme) document.documentElement.dataset.theme = theme; } catch { /* as above */ }
  if (!window.DecompressionStream) throw new Error("this browser is too old: it has no DecompressionStream (Chrome 80, Firefox 113, Safari 16.4)");
  INDEX = await unpacked(byId("index"));
  notes = new Notes(document.querySelectorAll("script.texts"), document.querySelectorAll("script.notes"), INDEX.starts);
  documents = new DocumentList(byId("documents"), (at) => open(documents.rows[at]));
  filters = new Filters(byId("filters"), refresh);
  byId("modes").classList.toggle("hidden", !INDEX.gold);
  byId("report").classList.toggle("hidden", !INDEX.tables.length);
  byId("arcs").classList.toggle("hidden", !INDEX.linkTypes.length);
  byId("tables-body").replaceChildren(...reportTables(INDEX.tables));
  if (INDEX.warning) {
    byId("warning").textContent = INDEX.warning;
    byId("warning").classList.remove("hidden");
  }
  listen();
  const asked = decodeURIComponent(location.hash.slice(1)), wanted = INDEX.documents.findIndex(([name]) => name === asked);
  if (wanted >= 0) state.place = wanted;
  const rows = filters.documents();
  documents.show(rows, state.place);
  byId("about").textContent = `${rows.length.toLocaleString("en")} documents`;
  if (rows.length) await open(Math.max(0, wanted));
  document.documentElement.dataset.ready = "true";
}

begin().catch((error) => {
  byId("warning").textContent = `The page cannot be shown: ${error.message}`;
  byId("warning").classList.remove("hidden");
});
