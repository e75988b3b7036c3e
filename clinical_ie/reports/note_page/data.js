// The data of the page: an index, and chunks of notes that are unpacked when one of them is opened.
const SIGNS = { correct: "", boundary: "↔", type: "≠", "boundary and type": "≠↔", missed: "−", spurious: "+" };
const SIDE = { predicted: 0, gold: 1, both: 2 };

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const signs = atob(text), bytes = new Uint8Array(signs.length);
  for (let at = 0; at < signs.length; at++) bytes[at] = signs.charCodeAt(at);
  return bytes;
}

async function unpacked(element) {
  const stream = new Blob([decoded(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

class Notes {
  constructor(texts, notes, starts) {
    this.elements = { texts, notes };
    this.starts = starts; // of each chunk, the place of its first document
    this.held = new Map();
  }

  chunkOf(place) {
    let low = 0, high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= place) low = middle; else high = middle - 1;
    }
    return low;
  }

  chunk(kind, number) {
    const key = `${kind} ${number}`, found = this.held.get(key) ?? unpacked(this.elements[kind][number]);
    this.held.delete(key);
    this.held.set(key, found); // the one that was used last comes last
    if (this.held.size > 64) this.held.delete(this.held.keys().next().value);
    return found;
  }

  async get(place) {
    const number = this.chunkOf(place);
    const [texts, notes] = await Promise.all([this.chunk("texts", number), this.chunk("notes", number)]);
    const at = place - this.starts[number];
    return note(texts[at], notes[at]);
  }
}

function note(text, [mentions, links, remark]) {
  return {
    text, remark,
    mentions: mentions.map(([side, type, ends, outcome, partner, confidence, id, attributes, goldAttributes, seen], place) => {
      const fragments = [];
      for (let at = 0; at < ends.length; at += 2) fragments.push([ends[at], ends[at + 1]]);
      return { place, side, type, fragments, outcome, partner, confidence, id, attributes, goldAttributes, seen,
               start: ends[0], end: ends[ends.length - 1] };
    }),
    links: links.map(([side, type, head, tail, outcome, partner, confidence, attributes], place) =>
      ({ place, side, type, head, tail, outcome, partner, confidence, attributes })),
  };
}

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "hue") element.style.setProperty("--h", value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Whether an annotation is what the page calls an error: of two that do not fit each other, the predicted one.
const isWrong = (one) => Boolean(SIGNS[one.outcome]) && (one.side === SIDE.predicted || one.outcome === "missed");
const signOf = (one) => (isWrong(one) ? `${SIGNS[one.outcome]} ` : "");

const hueOf = (type) => Math.round((type * 137.508 + 255) % 360); // the golden angle: neighbours differ, however many there are
const byId = (id) => document.getElementById(id);
