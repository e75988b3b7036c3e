// A note with its mentions: the text cut at every end of a mention, each piece with a line for every mention that covers it.

// Characters that show nothing, as signs that stand for them, one for one; a lone CR ends a line.
function visible(text) {
  return text.replace(/\r(?!\n)/g, "\n").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, (sign) =>
    sign === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + sign.charCodeAt(0)));
}

// A free lane for every mention from its first character to its last, longer ones nearer to the text's bottom.
function lanesOf(mentions) {
  const lanes = new Map(), free = [];
  for (const one of [...mentions].sort((a, b) => a.start - b.start || b.end - a.end)) {
    let lane = free.findIndex((end) => end <= one.start);
    if (lane < 0) lane = free.push(0) - 1;
    free[lane] = one.end;
    lanes.set(one, lane);
  }
  return [lanes, free.length];
}

// The label of a mention whose boundaries alone are wrong stands for gold's too, behind whichever of the two ends last.
const isLabelled = (one, shown) => !(one.side === SIDE.gold && one.outcome === "boundary" && shown.has(one.partner));
const labelAt = (one, shown) => (one.outcome === "boundary" && shown.has(one.partner) ? Math.max(one.end, shown.get(one.partner).end) : one.end);

// Where a long text is cut into blocks, so that a browser lays out what is in sight alone: behind line ends, else behind blanks.
function blocksOf(text) {
  const starts = [0];
  while (text.length - starts.at(-1) > 8000) {
    const least = starts.at(-1) + 4000, line = text.indexOf("\n", least);
    let next = line >= 0 && line < least + 16000 ? line + 1 : text.indexOf(" ", least + 16000) + 1;
    if (!next || next > least + 32000) next = least + 16000 + (/[\udc00-\udfff]/.test(text[least + 16000] ?? "") ? 1 : 0);
    starts.push(Math.min(next, text.length));
  }
  return starts;
}

function pieces(mentions, blocks, length) {
  const cuts = new Set([...blocks, length]), begins = new Map(), ends = new Map(), labels = new Map();
  const shown = new Map(mentions.map((one) => [one.place, one]));
  const put = (map, key, value) => map.has(key) ? map.get(key).push(value) : map.set(key, [value]);
  for (const one of mentions) {
    for (const [start, end] of one.fragments) cuts.add(start).add(end);
    put(begins, one.start, one);
    put(ends, one.end, one);
    if (isLabelled(one, shown)) put(labels, labelAt(one, shown), one);
  }
  const order = [...cuts].sort((a, b) => a - b), active = new Set(), found = [];
  for (let at = 0; at + 1 < order.length || at === 0; at++) {
    const start = order[at], end = order[at + 1] ?? start;
    for (const one of ends.get(start) ?? []) active.delete(one);
    for (const one of begins.get(start) ?? []) active.add(one);
    const covering = [], across = [];
    for (const one of active) (one.fragments.some(([a, b]) => a <= start && end <= b) ? covering : across).push(one);
    found.push({ start, end, covering, across, labels: labels.get(end) ?? [] });
    if (order.length < 2) break;
  }
  return found;
}

function lines(piece, lanes, seg) {
  const images = [], sizes = [], places = [];
  let up = 0;
  for (const [one, gap] of [...piece.covering.map((m) => [m, false]), ...piece.across.map((m) => [m, true])]) {
    const colour = `oklch(from var(--stroke) l c ${hueOf(one.type)})`;
    const dashed = gap ? "1px, transparent 1px 5px" : "4px, transparent 4px 7px";
    images.push(one.side === SIDE.gold || gap
      ? `repeating-linear-gradient(90deg, ${colour} 0 ${dashed})` : `linear-gradient(${colour}, ${colour})`);
    const lane = lanes.get(one);
    up = Math.max(up, lane + 1);
    sizes.push("100% 2.5px");
    places.push(lane);
  }
  seg.style.setProperty("--up", up);
  seg.style.backgroundImage = images.join(",");
  seg.style.backgroundSize = sizes.join(",");
  seg.style.backgroundPosition = places.map((lane) => `0 calc(100% - ${(up - 1 - lane) * 4}px)`).join(",");
}

function spoken(one, text) {
  const side = one.side === SIDE.gold ? "gold " : INDEX.gold && one.side === SIDE.predicted ? "predicted " : "";
  return `${side}${INDEX.types[one.type]}${one.outcome ? `, ${one.outcome}` : ""}: ${covered(one, text)}`;
}

const covered = (one, text) => one.fragments.map(([a, b]) => text.slice(a, b)).join(" … ");

// The text as an element; `parts` gives for every mention its pieces, `nodes` where text is, for search marks.
function sheet(text, mentions) {
  const shown = visible(text), [lanes, depth] = lanesOf(mentions), parts = new Map(), nodes = [];
  const body = make("div", { className: "text" });
  body.style.setProperty("--lanes", Math.min(depth, 4));
  const blocks = new Set(blocksOf(text));
  let block;
  for (const piece of pieces(mentions, blocks, text.length)) {
    if (blocks.has(piece.start)) body.append(block = make("div", { className: "block" }));
    const node = document.createTextNode(shown.slice(piece.start, piece.end));
    nodes.push([piece.start, node]);
    const all = [...piece.covering, ...piece.across];
    if (!all.length) { block.append(node); continue; }
    const inner = piece.covering.filter((m) => m.side !== SIDE.gold).sort((a, b) => (a.end - a.start) - (b.end - b.start))[0];
    const first = piece.covering.filter((m) => m.start === piece.start);
    const seg = make("span", { className: "seg", hue: hueOf((inner ?? all[0]).type) }, node);
    seg.dataset.m = piece.covering.map((m) => m.place).join(" ");
    if (inner) seg.classList.add("filled");
    if (first.length) {
      seg.tabIndex = 0;
      seg.setAttribute("role", "button");
      seg.setAttribute("aria-label", first.map((m) => spoken(m, text)).join("; "));
    }
    lines(piece, lanes, seg);
    block.append(seg);
    for (const one of all) parts.has(one.place) ? parts.get(one.place).push(seg) : parts.set(one.place, [seg]);
    for (const one of [...piece.labels].sort((a, b) => b.start - a.start)) {
      const chip = make("span", { className: "chip", hue: hueOf(one.type), ariaHidden: "true" });
      chip.dataset.label = signOf(one) + INDEX.types[one.type];
      chip.dataset.m = one.place;
      if (one.side === SIDE.gold) chip.classList.add("gold");
      if (isWrong(one)) chip.classList.add("wrong");
      block.append(chip);
      parts.get(one.place).push(chip);
    }
  }
  return { body, parts, nodes };
}

// Marks of what was searched for, without touching the text.
function markFound(sheets, text, pattern) {
  if (!window.Highlight) return;
  CSS.highlights.delete("found");
  if (!pattern) return;
  const marks = new Highlight();
  for (const { nodes } of sheets) {
    for (const match of [...text.matchAll(pattern)].slice(0, 500)) {
      const at = (offset) => {
        let low = 0, high = nodes.length - 1;
        while (low < high) { const middle = (low + high + 1) >> 1; if (nodes[middle][0] <= offset) low = middle; else high = middle - 1; }
        return [nodes[low][1], Math.min(offset - nodes[low][0], nodes[low][1].length)];
      };
      const range = new Range();
      range.setStart(...at(match.index));
      range.setEnd(...at(match.index + match[0].length));
      marks.add(range);
    }
  }
  CSS.highlights.set("found", marks);
}
