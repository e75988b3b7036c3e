// Links as arcs over the text, from the first piece of one mention to that of another.
const SVG = "http://www.w3.org/2000/svg";

function drawArcs(holder, parts, links) {
  holder.querySelector(".arcs")?.remove();
  if (!links.length) return;
  const frame = holder.getBoundingClientRect(), picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "arcs");
  picture.setAttribute("aria-hidden", "true");
  const place = (mention) => {
    const piece = parts.get(mention)?.[0];
    const box = piece?.getClientRects()[0];
    return box && { x: box.left - frame.left + Math.min(box.width / 2, 30), y: box.top - frame.top + 2, bottom: box.bottom - frame.top };
  };
  const used = new Map();
  for (const link of links) {
    const head = place(link.head), tail = place(link.tail);
    if (!head || !tail) continue;
    const group = document.createElementNS(SVG, "g"), path = document.createElementNS(SVG, "path"), label = document.createElementNS(SVG, "text");
    if (link.side === SIDE.gold) group.classList.add("gold");
    if (isWrong(link)) group.classList.add("wrong");
    group.dataset.link = link.place;
    let x, y;
    if (Math.abs(head.y - tail.y) < 6) {
      const key = `${Math.round(head.y)}`, level = used.get(key) ?? 0;
      used.set(key, level + 1);
      const rise = Math.min(14 + Math.abs(head.x - tail.x) * 0.09, 26) + (level % 3) * 4;
      path.setAttribute("d", `M${head.x},${head.y} C${head.x},${head.y - rise} ${tail.x},${tail.y - rise} ${tail.x},${tail.y}`);
      [x, y] = [(head.x + tail.x) / 2, Math.min(head.y, tail.y) - rise * 0.75 + 4];
    } else {
      const [from, to] = head.y < tail.y ? [head.bottom, tail.y] : [head.y, tail.bottom], bend = (to - from) / 2;
      path.setAttribute("d", `M${head.x},${from} C${head.x},${from + bend} ${tail.x},${to - bend} ${tail.x},${to}`);
      [x, y] = [(head.x + tail.x) / 2, (from + to) / 2 + 4];
    }
    path.setAttribute("marker-end", "url(#tip)");
    label.setAttribute("x", x);
    label.setAttribute("y", y);
    label.textContent = signOf(link) + INDEX.linkTypes[link.type];
    group.append(path, label);
    picture.append(group);
  }
  const tips = document.createElementNS(SVG, "defs");
  tips.innerHTML = '<marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8" style="fill:none;stroke:context-stroke;stroke-width:2"/></marker>';
  picture.prepend(tips);
  holder.append(picture);
}
