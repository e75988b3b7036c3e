// What is annotated in the open note, as lists: errors, mentions, links.
function quoted(one, text) {
  const words = visible(covered(one, text)).replace(/\s+/g, " ");
  return make("q", {}, words.length > 120 ? `${words.slice(0, 118)}…` : words);
}

function badges(attributes, gold) {
  return attributes.map(([name, value]) => make("span", { className: `badge${gold ? " gold" : ""}` }, value === null ? name : `${name}: ${value}`));
}

function metaOf(one) {
  const said = [];
  if (one.confidence !== null && one.confidence !== undefined) said.push(`${(100 * one.confidence).toFixed(0)} %`);
  if (one.seen !== undefined && one.seen >= 0 && one.side !== SIDE.predicted) said.push(one.seen ? "seen in training" : "not seen in training");
  return said.length ? make("span", { className: "meta" }, ` ${said.join(", ")}`) : "";
}

function mentionRow(one, text) {
  const row = make("button", {}, make("span", { className: `dot${one.side === SIDE.gold ? " gold" : ""}`, hue: hueOf(one.type) }));
  if (isWrong(one)) row.append(make("span", { className: "kind" }, `${SIGNS[one.outcome]} ${one.outcome} `));
  row.append(make("b", {}, INDEX.types[one.type]), " ", quoted(one, text), metaOf(one));
  const all = [...badges(one.attributes, one.side === SIDE.gold), ...badges(one.goldAttributes ?? [], true)];
  if (all.length) row.append(make("div", {}, ...all));
  row.dataset.mention = one.place;
  return make("li", {}, row);
}

function linkRow(one, note) {
  const row = make("button", {});
  if (isWrong(one)) row.append(make("span", { className: "kind" }, `${SIGNS[one.outcome]} ${one.outcome} `));
  row.append(quoted(note.mentions[one.head], note.text), make("b", {}, ` —${INDEX.linkTypes[one.type]}→ `), quoted(note.mentions[one.tail], note.text));
  row.append(metaOf(one));
  if (one.side === SIDE.gold && INDEX.gold) row.append(make("span", { className: "meta" }, " gold"));
  if (one.attributes.length) row.append(make("div", {}, ...badges(one.attributes, one.side === SIDE.gold)));
  row.dataset.link = one.place;
  return make("li", {}, row);
}

function pairRow(one, note) {
  const row = mentionRow(one, note.text), other = note.mentions[one.partner];
  if (other) {
    const what = one.outcome === "boundary" ? "" : `${INDEX.types[other.type]} `;
    row.firstChild.append(make("div", { className: "meta" }, `gold: ${what}`, quoted(other, note.text)));
  }
  return row;
}

const MOST_ROWS = 1000; // of a list; a note with more is of no use as a list

function list(title, ones, row) {
  if (!ones.length) return [];
  const left = ones.length - MOST_ROWS;
  const more = left > 0 ? [make("p", { className: "note" }, `${left.toLocaleString("en")} more are in the text; filters narrow this list.`)] : [];
  return [make("h3", {}, `${title} (${ones.length.toLocaleString("en")})`), make("ul", {}, ...ones.slice(0, MOST_ROWS).map(row)), ...more];
}

function reportTables(tables) {
  return tables.map(({ title, columns, rows, note }) => {
    const isNumber = columns.map((_, at) => at > 0 && rows.every((row) => typeof row[at] !== "string" || !row[at] || /^[\d.,% –-]+$/.test(row[at])));
    const cell = (tag) => (value, at) => make(tag, { className: isNumber[at] ? "n" : "" }, String(value));
    const head = make("tr", {}, ...columns.map(cell("th")));
    const body = rows.map((row) => make("tr", {}, ...row.map(cell("td"))));
    const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
    return make("section", {}, make("h3", {}, title), make("div", { className: "wide" }, table), note ? make("p", { className: "note" }, note) : "");
  });
}
