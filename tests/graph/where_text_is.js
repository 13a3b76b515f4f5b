// Loads pages of graphs in frames of several widths, and says where text is covered, cut or small.
const pages = JSON.parse(document.getElementById("pages").textContent), found = [];
function texts(frame) {  // rectangles of all text that is seen, with what it is in
  const rects = [], walker = frame.createTreeWalker(frame.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, parent = text.parentElement;
    if (!text.textContent.trim() || !parent.offsetParent || parent.closest("script, style")) continue;
    const range = frame.createRange(); range.selectNodeContents(text);
    for (const r of range.getClientRects()) rects.push({ text: text.textContent.trim(), parent, r });
  }
  return rects;
}
const apart = (a, b) => a.right <= b.left + 0.5 || b.right <= a.left + 0.5 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
const within = (a, b) => a.left >= b.left - 0.5 && a.right <= b.right + 0.5 && a.top >= b.top - 1.5 && a.bottom <= b.bottom + 1.5;
function faults(frame, say) {
  const all = texts(frame), view = frame.getElementById("view"), sheet = frame.getElementById("sheet"), v = view.getBoundingClientRect();
  const inSheet = all.filter((t) => sheet.contains(t.parent)), header = frame.querySelector("header").getBoundingClientRect();
  all.forEach((a, i) => all.slice(0, i).forEach((b) => {
    if (sheet.contains(a.parent) === sheet.contains(b.parent) && !apart(a.r, b.r)) say(`"${a.text}" and "${b.text}" overlap`);
  }));
  if (!inSheet.some((t) => t.r.top < v.bottom && t.r.bottom > v.top && t.r.left < v.right)) say("nothing is seen");
  for (const t of all) if (!sheet.contains(t.parent) && !within(t.r, header)) say(`"${t.text}" leaves the header`);
  if (header.bottom > v.top + 1 || v.bottom > frame.defaultView.innerHeight + 1) say("the header covers the graph");
  if (view.scrollWidth > view.clientWidth) say(`${view.scrollWidth - view.clientWidth} pixels are reached only sideways`);
  if (header.height > 0.4 * frame.defaultView.innerHeight) say("the header takes the window");
  for (const { text, parent, r } of inSheet) {
    const item = parent.closest(".node, .port, .box");
    if (!within(r, item.getBoundingClientRect())) say(`"${text}" leaves its frame`);
    if (!within(item.getBoundingClientRect(), sheet.getBoundingClientRect())) say(`"${text}" leaves the sheet`);
    if (parseFloat(frame.defaultView.getComputedStyle(parent).fontSize) < 11) say(`"${text}" is small`);
  }
  const o = sheet.getBoundingClientRect(), items = [...sheet.querySelectorAll(".node, .box.closed")].filter((e) => e.offsetParent);
  const covered = [  // smaller by what an edge may touch
    ...inSheet.map(({ text, r }) => ({ text, r, by: 2 })),
    ...items.map((e) => ({ text: e.textContent, r: e.getBoundingClientRect(), by: 4 })),
  ].map(({ text, r, by }) => ({ text, left: r.left + by, right: r.right - by, top: r.top + by, bottom: r.bottom - by }));
  for (const line of frame.querySelectorAll("#edges path")) {
    const length = line.getTotalLength();
    for (let s = 3; s < length - 3; s += 8) {
      const p = line.getPointAtLength(s), x = p.x + o.left, y = p.y + o.top;
      const hit = covered.find((r) => x > r.left && x < r.right && y > r.top && y < r.bottom);
      if (hit) { say(`an edge crosses "${hit.text}"`); break; }
    }
  }
}
(async () => {
  for (const [name, page] of Object.entries(pages)) for (const width of WIDTHS) {
    const frame = document.createElement("iframe");
    frame.style = `width: ${width}px; height: 700px; border: 0`;
    frame.srcdoc = page;
    const loaded = new Promise((done) => { frame.onload = done; });
    document.body.append(frame);
    await loaded;
    const inside = frame.contentDocument;
    for (const state of ["as opened", "open", "closed"]) {
      if (state !== "as opened") inside.getElementById({ open: "all", closed: "none" }[state]).click();
      faults(inside, (fault) => found.push(`${name}, ${width} pixels, ${state}: ${fault}`));
    }
    frame.remove();
  }
  const out = document.createElement("pre");
  out.id = "observed"; out.textContent = JSON.stringify(found);
  document.body.replaceChildren(out);
})();
