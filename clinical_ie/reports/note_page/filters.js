// What is shown: types, kinds of errors, confidence, and a search; and which documents hold any of it.
class Filters {
  constructor(holder, changed) {
    this.holder = holder;
    this.changed = changed;
    this.hidden = { types: new Set(), linkTypes: new Set(), outcomes: new Set() };
    this.range = [0, 100];
    this.found = null; // documents in which the search has found something
    this.pattern = null;
    this.draw();
  }

  get active() {
    return Object.values(this.hidden).some((names) => names.size) || this.narrowed;
  }

  get narrowed() {
    return this.range[0] > 0 || this.range[1] < 100;
  }

  // Whether an annotation is shown; `percent` is -1 where its confidence is not known.
  keeps(kind, type, outcome, percent) {
    if (this.hidden[kind].has(type) || this.hidden.outcomes.has(outcome)) return false;
    return !this.narrowed || (percent >= this.range[0] && percent <= this.range[1]);
  }

  keepsMention(one) {
    return this.keeps("types", one.type, INDEX.outcomes.indexOf(one.outcome), percent(one.confidence));
  }

  keepsLink(one) {
    return this.keeps("linkTypes", one.type, INDEX.outcomes.indexOf(one.outcome), percent(one.confidence));
  }

  documents() {
    const places = [];
    for (let place = 0; place < INDEX.documents.length; place++) {
      if ((!this.found || this.found.has(place)) && (!this.active || this.holds(place))) places.push(place);
    }
    return places;
  }

  holds(place) {
    const [, , , , summary, linkSummary] = INDEX.documents[place];
    for (const [kind, rows] of [["types", summary], ["linkTypes", linkSummary]]) {
      for (let k = 0; k < rows.length; k += 4) if (this.keeps(kind, rows[k], rows[k + 1], rows[k + 2])) return true;
    }
    return false;
  }

  // Whether a document has an error that is shown.
  errs(place) {
    const [, , , , summary, linkSummary] = INDEX.documents[place];
    for (const [kind, rows] of [["types", summary], ["linkTypes", linkSummary]]) {
      for (let k = 0; k < rows.length; k += 4) {
        if ((SIGNS[INDEX.outcomes[rows[k + 1]]] || !INDEX.gold) && this.keeps(kind, rows[k], rows[k + 1], rows[k + 2])) return true;
      }
    }
    return false;
  }

  draw() {
    const sums = { types: [], linkTypes: [], outcomes: [] };
    for (const [, , , , summary, linkSummary] of INDEX.documents) {
      for (const [kind, rows] of [["types", summary], ["linkTypes", linkSummary]]) {
        for (let k = 0; k < rows.length; k += 4) {
          sums[kind][rows[k]] = (sums[kind][rows[k]] ?? 0) + rows[k + 3];
          sums.outcomes[rows[k + 1]] = (sums.outcomes[rows[k + 1]] ?? 0) + rows[k + 3];
        }
      }
    }
    const groups = [];
    if (INDEX.types.length) groups.push(this.group("Types", "types", INDEX.types, sums.types));
    if (INDEX.linkTypes.length) groups.push(this.group("Links", "linkTypes", INDEX.linkTypes, sums.linkTypes));
    if (INDEX.gold) {
      const names = INDEX.outcomes.map((name) => (SIGNS[name] ? `${SIGNS[name]} ${name}` : name));
      groups.push(this.group("Outcome", "outcomes", names, sums.outcomes));
    }
    if (INDEX.confidence) groups.push(this.slider());
    const reset = make("button", { className: "reset", textContent: "Show all" });
    reset.addEventListener("click", () => this.reset());
    this.holder.replaceChildren(...groups, reset);
  }

  group(title, kind, names, counts) {
    const buttons = names.map((name, value) => [name, value, counts[value] ?? 0]).filter(([, , count]) => count).map(([name, value, count]) => {
      const button = make("button", { hue: hueOf(value), textContent: `${name} ${count.toLocaleString("en")}` });
      if (kind === "types") button.classList.add("type");
      button.setAttribute("aria-pressed", !this.hidden[kind].has(value));
      button.title = "Click: hide or show. Double click: this alone.";
      button.addEventListener("click", () => {
        const names = this.hidden[kind];
        names.has(value) ? names.delete(value) : names.add(value);
        button.setAttribute("aria-pressed", !names.has(value));
        this.changed();
      });
      button.addEventListener("dblclick", () => this.only(kind, value));
      return button;
    });
    return make("fieldset", {}, make("legend", {}, title), ...buttons);
  }

  only(kind, value) {
    const all = { types: INDEX.types, linkTypes: INDEX.linkTypes, outcomes: INDEX.outcomes }[kind];
    this.hidden[kind] = new Set(all.map((_, other) => other).filter((other) => other !== value));
    this.draw();
    this.changed();
  }

  slider() {
    const output = make("output", {}), ends = [0, 1].map((end) => {
      const input = make("input", { type: "range", min: 0, max: 100, step: 1, value: this.range[end] });
      input.setAttribute("aria-label", end ? "Highest confidence" : "Lowest confidence");
      input.addEventListener("input", () => {
        this.range[end] = Number(input.value);
        say();
        this.changed();
      });
      return input;
    });
    const say = () => { output.textContent = this.narrowed ? `${this.range[0]} to ${this.range[1]} %` : "any"; };
    say();
    return make("fieldset", {}, make("legend", {}, "Confidence"), ...ends, output);
  }

  reset() {
    for (const names of Object.values(this.hidden)) names.clear();
    this.range = [0, 100];
    this.draw();
    this.changed();
  }
}

const percent = (confidence) => (confidence === null || confidence === undefined ? -1 : Math.round(100 * confidence));
