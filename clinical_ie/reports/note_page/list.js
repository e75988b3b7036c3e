// The documents that pass the filters; only the rows in sight exist.
const ROW = 46;

class DocumentList {
  constructor(holder, open) {
    this.holder = holder;
    this.rows = [];
    this.at = -1; // the place in `rows` of the one that is open
    this.space = make("div");
    holder.append(this.space);
    holder.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(holder);
    holder.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) open(Number(row.dataset.at));
    });
  }

  show(rows, current) {
    this.rows = rows;
    this.at = rows.indexOf(current);
    this.space.style.height = `${rows.length * ROW}px`;
    this.draw();
  }

  select(at) {
    this.at = at;
    const top = at * ROW;
    if (top < this.holder.scrollTop) this.holder.scrollTop = top;
    if (top + ROW > this.holder.scrollTop + this.holder.clientHeight) this.holder.scrollTop = top + ROW - this.holder.clientHeight;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.holder.scrollTop / ROW) - 6);
    const last = Math.min(this.rows.length, first + Math.ceil(this.holder.clientHeight / ROW) + 12);
    const drawn = [];
    for (let at = first; at < last; at++) {
      const [name, , mentions, links, summary, linkSummary] = INDEX.documents[this.rows[at]];
      const facts = make("span", { className: "facts" });
      const errors = {};
      for (const rows of [summary, linkSummary]) {
        for (let k = 0; k < rows.length; k += 4) {
          const outcome = INDEX.outcomes[rows[k + 1]];
          if (SIGNS[outcome]) errors[SIGNS[outcome]] = (errors[SIGNS[outcome]] ?? 0) + rows[k + 3];
        }
      }
      for (const [sign, count] of Object.entries(errors)) facts.append(make("b", {}, `${sign}${count}`));
      facts.append(`${mentions} mentions${links ? ` · ${links} links` : ""}`);
      const row = make("div", { className: "row", id: `row${at}`, role: "option", title: name }, make("span", { className: "name" }, name), facts);
      row.style.top = `${at * ROW}px`;
      row.dataset.at = at;
      row.setAttribute("aria-selected", at === this.at);
      row.setAttribute("aria-posinset", at + 1);
      row.setAttribute("aria-setsize", this.rows.length);
      drawn.push(row);
    }
    this.space.replaceChildren(...drawn);
    if (!this.rows.length) this.space.append(make("p", { className: "nothing" }, "No document passes the filters."));
    if (this.at >= first && this.at < last) this.holder.setAttribute("aria-activedescendant", `row${this.at}`);
    else this.holder.removeAttribute("aria-activedescendant");
  }
}
