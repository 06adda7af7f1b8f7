// A net: its cells, each about the nodes of some boxes, its home, and about numbers of the net's.
const WORDS = ["state", "tally", "kind", "off", "ailment", "factor", "split", "left", "strip", "axis", "share", "counts", "reads 0", "reads 1"];
const cells = net.cells.map(([kind, homes, ...about], i) => {
  const group = $(`a_c${i}`), shape = group.querySelector("polygon"), text = [...group.querySelectorAll("text")].at(-1);
  const look = kind === "counts" ? "bare" : net.looks[shape?.getAttribute("fill")] ?? (text?.getAttribute("fill") === net.stop ? "off" : "bare"), words = WORDS.includes(kind);
  group.classList.add("cell", ...(words ? ["words"] : []), kind.split(" ")[0]);
  group.append(drawn("title"));
  const cell = { kind, homes, about, group, text, words, look, text0: text?.textContent, said: text?.textContent, look0: look, born: Math.max(...homes.map((box) => born[box])), final: Math.max(turn, ...homes.map((box) => final[box])) };
  if (kind === "cell" && text?.textContent === "0") text.classList.add("late");
  if (!words) choosable(group, homes.at(-1));
  if (shape && kind !== "strip") cell.room = ends(group)[1] - ends(group)[0] - 4;
  if (text && !["cell", "axis", "counts"].includes(kind)) anchor(cell, { state: "end", left: "end", loss: net.strip ? "middle" : "end", ailment: shape ? "middle" : "end", factor: "start", split: "start", equation: "start", kind: "start", off: "start" }[kind.split(" ")[0]] ?? "middle");
  return cell;
});
// A text that is to be written anew stands where it stood: by its middle, or by an end.
function anchor({ text }, where) {
  const x = Number(text.getAttribute("x")), wide = Number(text.getAttribute("textLength")), part = { start: 0, middle: 0.5, end: 1 }[where];
  mark(text, "x", String(x + part * wide));
  mark(text, "text-anchor", where);
}
for (const cell of cells) if (!cell.words) for (const box of cell.homes) partsOf[box].push(cell.group);
const slopeCells = new Map(cells.filter(({ kind }) => kind === "slope").map((cell) => [net.turns[cell.about[0]].join(), cell]));
const stoppedRows = cells.filter(({ kind, look }) => kind === "slopes" && look === "halt");
arrows.forEach((arrow, i) => {
  const row = arrow.stop && stoppedRows.find(({ homes }) => homes.includes(arrow.tail));
  if (row) barOf.set(i, row.group);
  const cell = arrow.edges?.length === 1 && slopeCells.get(`${arrow.edges[0][0]},${boxes[arrow.tail].node}`);
  if (!cell) return;
  cell.arrow = i;
  barOf.set(i, cell.group);
});
for (const group of document.querySelectorAll("#picture .node")) group.setAttribute("class", "box");
$("picture").classList.add("net");
// The frames of neurons, or of layers: orange and thick where a gradient stops on all samples; thick
// where the title says that it begins to be small, or large, which is said of the saved numbers.
const framed = new Map();
for (const cell of cells) {
  const box = ["state", "equation", "cell", "counts"].includes(cell.kind) && cell.group.closest(".box");
  if (box) framed.set(box, [...framed.get(box) ?? [], cell]);
}
const outlines = [...framed].flatMap(([box, within]) => {
  const lines = [...box.querySelectorAll("polygon[fill=none]:not([stroke=none])")].filter((line) => !line.closest(".cell")), byLayer = /cell|counts/.test(within[0].kind);
  return (byLayer ? lines : lines.slice(0, within.length)).map((line, i) => {
    const own = byLayer ? within : [within[i]], wide = Number(line.getAttribute("stroke-width") ?? 1), look = line.getAttribute("stroke") === net.stop ? "dead" : wide > 1 ? "begin" : "";
    line.classList.add("frame");
    return { line, own, byLayer, saved: { wide, look }, wide, look, final: Math.max(...own.map((cell) => cell.final)) };
  });
});
function drawFrames() {
  for (const { line, wide, look, final } of outlines) {
    for (const name of ["dead", "begin"]) line.classList.toggle(name, look === name && now >= final);
    mark(line, "stroke-width", now >= final ? String(wide) : "1");
  }
}
// A line between two boxes is as wide as what it carries back, once all of that is known.
const pathOf = (title) => (/->loss\b/.test(title) ? undefined : titled.get(title)?.querySelector("path"));
const carriers = new Map();
if (net.lineBy) {
  const carries = (path, k) => { if (path) carriers.set(path, Math.max(k, carriers.get(path) ?? 0)); }, boxOf = new Map(boxes.flatMap((box, i) => (box.nodes ?? [box.node]).map((node) => [node, i])));
  moments.forEach(({ arrow }, k) => { if (arrow !== undefined) carries(pathOf(net.lines[arrow]), k); });
  for (const [title, , z] of net.bare ?? []) carries(pathOf(title), final[boxOf.get(z)]);
}
put($("answer"), net.answer);
$("answer").hidden = false;

// Whether a row of several samples has met a stop in one of them.
const stopsOneOf = (homes, reached) => arrows.some((arrow, i) => arrow.stop && reached.has(i) && homes.includes(arrow.tail));

// The cells at a moment, when so much is known.
function renderCells(grads, reached) {
  drawFrames();
  for (const [path, k] of carriers) path.parentNode.classList.toggle("idle", now < k);
  for (const cell of cells) {
    const { kind, group, text, homes } = cell, done = now >= cell.final, grad = grads[homes[0]];
    group.classList.toggle("unborn", cell.born > now);
    group.classList.toggle("waiting", !done);
    const halts = cell.look === "halt" && kind.startsWith("slope"), met = cell.arrow !== undefined ? reached.has(cell.arrow) : done || (kind === "slopes" && stopsOneOf(homes, reached));
    wear(group, halts ? (met ? "halt" : "shut") : done || kind.startsWith("slope") ? cell.look : "shut");
    if (text && (kind === "state" || kind === "tally")) write(text, done ? cell.said : foretold(cell.said), cell.room);
    if (halts) write(text, met ? "×0 STOP" : "×0", cell.room);
    if (["grad", "end", "leaving"].includes(kind) && homes.length === 1 && !boxes[homes[0]].fold) write(text, grad === undefined ? " " : (kind === "leaving" ? "= " : "") + short(grad), cell.room);
  }
}

// Of what ails a neuron or a layer, what the forward pass tells.
const foretold = (said) => said.split(" · ").filter((fact) => !/starved\s*$/.test(fact)).join(" · ") || " ";

const looksNow = () => cells.map(({ look }) => look);

// --- a net's cells, anew ---
const rms = (list) => Math.hypot(...list) / Math.sqrt(list.length);
const range = (list) => [...new Set([Math.min(...list), Math.max(...list)].map(short))].join(" … ");
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const zOf = (t) => nodes[net.turns[t].at(-1)], yOf = (t) => nodes[net.turns[t][0]];
const gradsOf = (turns, end) => turns.map((t) => end(t).grad);
// ∂y/∂z, through the nodes between the two.
let slopesNow = [];
const slopeOf = (t) => (slopesNow[t] ??= slopeThrough(net.turns[t]));
function slopeThrough(chain) {
  const slopes = new Map([[chain[0], 1]]), z = chain.at(-1);
  for (const i of chain) if (i !== z) nodes[i].operands.forEach((x, k) => {
    if (chain.includes(x) && nodes[i].partials[k] !== null) slopes.set(x, (slopes.get(x) ?? 0) + nodes[i].partials[k] * (slopes.get(i) ?? 0));
  });
  return slopes.get(z) ?? 0;
}
const orange = (slope) => (slope === 0 ? "zero" : { "-1": "bare" }[net.slopes.findIndex((bound) => Math.abs(slope) < bound)] ?? `o${net.slopes.findIndex((bound) => Math.abs(slope) < bound)}`);
const groupOf = (slope) => (slope === 0 ? net.bounds.length : Math.max(0, net.bounds.findIndex((bound) => Math.abs(slope) >= bound)));
const within = ([n, k]) => net.neurons[n].turns.filter((t) => groupOf(slopeOf(t)) === k);
const closed = (n) => net.neurons[n].turns.filter((t) => slopeOf(t) === 0);
let alive = new Set();  // the nodes that a gradient can reach
function findAlive() {
  slopesNow = [];
  alive = new Set([0]);
  nodes.forEach(({ operands, partials, grad }, i) => {
    if (!Number.isFinite(grad)) alive.add(i);
    if (alive.has(i)) operands?.forEach((x, k) => { if (isNode(x) && partials[k]) alive.add(x); });
  });
}
const starvedOf = (list) => list.filter((i) => !alive.has(i)).length;
const arrives = (turns) => turns.some((t) => alive.has(net.turns[t][0]));
const offOn = (n) => closed(n).length, stopsAny = (n) => arrives(closed(n));
const neuronsOf = (l) => net.layers[l].neurons;
const turnsOf = (ls) => ls.flatMap((l) => neuronsOf(l).flatMap((n) => net.neurons[n].turns));
const isShut = (n) => offOn(n) === net.neurons[n].turns.length, isDead = (n) => isShut(n) && stopsAny(n);
const isFlat = (n) => { const { flat, turns } = net.neurons[n], slope = median(turns.map((t) => Math.abs(slopeOf(t)))); return slope > 0 && slope < (flat ?? 0); };
const sum = (list) => list.reduce((a, b) => a + b, 0);
const ratio = (x, y) => (y ? x / y : x ? Infinity : 0);
// The doing of a layer, and of layers in a row, as explain/layers.py has it.
function passage(l) {
  const arriving = rms(gradsOf(turnsOf([l]), yOf)), leaving = rms(gradsOf(turnsOf([l]), zOf)), { readers } = net.layers[l], read = readers.length > 0;
  const above = read ? rms(gradsOf(turnsOf(readers), zOf)) : arriving;
  return { arriving, leaving, above, read, weights: read ? ratio(arriving, above) : 1, slopes: ratio(leaving, arriving) };
}
function passageOf(row) {
  const each = net.rows[row].map(passage), last = each.at(-1), [weights, slopes] = ["weights", "slopes"].map((name) => each.reduce((x, p) => x * p[name], 1));
  return { ...last, weights, slopes, leaving: each[0].leaving, arriving: slopes ? each[0].leaving / slopes : last.arriving };
}
// The words and the look of a cell, by its kind.
const lookOf = (grad) => { const shade = shadeOf(grad); return typeof shade === "number" ? `s${shade}` : shade; };
const shaded = (words, grad) => [words, lookOf(grad)];
const faces = {
  data: (i) => [short(nodes[i].data)],
  span: (...is) => [range(is.map((i) => nodes[i].data))],
  parameter: (i) => shaded(short(nodes[i].data), nodes[i].grad),
  tick: (i) => shaded(!alive.has(i) ? "0" : "", nodes[i].grad),
  z: (t) => shaded(short(zOf(t).data), zOf(t).grad),
  grad: (t) => shaded(short(yOf(t).grad), yOf(t).grad),
  leaving: (t) => shaded(`= ${short(zOf(t).grad)}`, zOf(t).grad),
  slope: (t) => [`×${short(slopeOf(t))}`, slopeOf(t) === 0 && arrives([t]) ? "halt" : orange(slopeOf(t))],
  equation: (t) => [(saved) => saved.replace(/\([^()]*\) =/, `(${short(zOf(t).data)}) =`).replace(/= \S+$/, `= ${short(yOf(t).data)}`)],
  ns: (...of) => [String(within(of).length)],
  zs: (...of) => { const turns = within(of); return turns.length ? shaded(range(turns.map((t) => zOf(t).data)), rms(gradsOf(turns, zOf))) : ["", "bare"]; },
  slopes: (...of) => { const turns = within(of), slope = median(turns.map(slopeOf)); return turns.length ? [`×${short(slope)}${slope === 0 && arrives(turns) ? " STOP" : ""}`, slope === 0 && arrives(turns) ? "halt" : orange(slope)] : ["", "bare"]; },
  grads: (...of) => { const turns = within(of); return turns.length ? shaded(short(rms(gradsOf(turns, yOf))), rms(gradsOf(turns, yOf))) : ["", "bare"]; },
  state: (n) => {
    const { gate, turns, parameters } = net.neurons[n], off = offOn(n), starved = starvedOf(parameters);
    if (off) return [`${gate ? "off" : "slope 0"}${net.samples > 1 ? ` on ${off} of ${turns.length}` : ""}`, stopsAny(n) ? "off" : "bare"];
    return [isFlat(n) ? "saturated" : starved ? `${starved} of ${parameters.length} starved` : " ", "bare"];
  },
  tally: (l) => {
    const off = sum(neuronsOf(l).map(offOn)), all = neuronsOf(l).flatMap((n) => net.neurons[n].parameters), starved = starvedOf(all), n = neuronsOf(l).length;
    return [[off ? `${off} of ${turnsOf([l]).length} gates off` : "", starved ? `${starved} of ${all.length} starved` : ""].filter(Boolean).join(" · ") || `${n} neuron${n > 1 ? "s" : ""}`];
  },
  off: (l) => [`${sum(neuronsOf(l).map(offOn))} of ${turnsOf([l]).length} gates off`],
  ailment: (l) => {
    const n = neuronsOf(l), stopping = n.filter(isDead).length, dead = n.filter(isShut).length, flat = n.filter(isFlat).length, of = `of ${n.length}`;
    const counts = net.layers.map((_, k) => neuronsOf(k).filter(isDead).length), worst = counts.lastIndexOf(Math.max(...counts));
    if (stopping && (2 * stopping >= n.length || l === worst)) return [`STOP on ${stopping} ${of}`, "halt"];
    return dead ? [`${dead} ${of} ${net.samples > 1 ? "dead" : "off"}`, stopping ? "off" : "bare"] : [flat ? `${flat} ${of} saturated` : " ", "bare"];
  },
  factor: (row) => { const p = passageOf(row); return [p.read ? (p.above ? `×${short(p.weights * p.slopes)}` : "–") : `starts at ${short(p.arriving)}${p.slopes !== 1 ? ` · slopes ×${short(p.slopes)}` : ""}`]; },
  split: (row) => { const p = passageOf(row); return [p.read && !p.above ? "nothing arrives" : p.read ? `weights ×${short(p.weights)} · slopes ×${short(p.slopes)}` : " "]; },
  left: (row) => [short(passageOf(row).leaving)],
  loss: (i) => [(saved) => saved.replace(/\S+\s*$/, `${short(nodes[i].data)} `)],
  end: (i) => shaded(short(nodes[i].grad), nodes[i].grad),
  share: (total, logit) => [short(logit === null ? Math.exp(-nodes[total].data) : sum(nodes[total].operands.map((x, k) => (x === logit ? nodes[total].partials[k] : 0))))],
  outputs: (...is) => [`output ${range(is.map((i) => nodes[i].data))}`],
  ends: (...is) => shaded(`|grad| ${short(rms(is.map((i) => nodes[i].grad)))}`, rms(is.map((i) => nodes[i].grad))),
};
// What is drawn in a cell, not written: put aside for an undo, and drawn anew.
function redraw(cell, draw) {
  const parts = [...cell.group.childNodes].filter((part) => part.tagName !== "title");
  cell.parts0 ??= parts;
  for (const part of parts) part.remove();
  cell.group.prepend(...(draw ? draw(cell.parts0) : cell.parts0));
}
function corners(parts) {
  const xs = [], ys = [];
  for (const part of parts.filter((each) => each.tagName === "polygon")) part.getAttribute("points").match(/-?[\d.]+/g).forEach((x, i) => (i % 2 ? ys : xs).push(Number(x)));
  return [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
}
// The letter that marks a neuron, and its look.
const isStarved = (n) => net.neurons[n].turns.every((t) => !alive.has(net.turns[t].at(-1)));
const markOf = (n) => (isShut(n) ? ["×", isDead(n) ? "halt" : "zero"] : isFlat(n) ? ["S", "o0"] : isStarved(n) ? ["0", "zero"] : ["", lookOf(sizeOf(n))]);
const sizeOf = (n) => rms(gradsOf(net.neurons[n].turns, zOf));
function drawNeuron(cell) {
  const [n] = cell.about, { index, turns, gate } = net.neurons[n], off = offOn(n), [shape, ...rim] = [...cell.parts0 ?? cell.group.children].filter(({ tagName }) => tagName === "polygon");
  const [left, right, top, bottom] = corners([shape]), high = bottom - top, named = high > 40, wide = right - left - 6;
  const [mark, look] = markOf(n), gates = named && !mark && net.layers.some(({ neurons }) => neurons.includes(n) && neurons.some((i) => net.neurons[i].gate));
  cell.look = look;
  const texts = !named ? [[mark, 0.63]] : mark ? [[`[${index}]`, 0.35], [mark, 0.815]] : gates ? [[`[${index}]`, 0.27], [off ? `off ${off}` : "", 0.61]] : [[`[${index}]`, 0.57]];
  const share = gates ? Math.round(wide * off / turns.length) : 0, bar = gates ? [[0, share], [share, wide - share]] : [];
  redraw(cell, () => [shape, ...rim.filter((each) => each.matches("[fill=none]") && each.getAttribute("stroke") !== net.stop), ...texts.filter(([text]) => text).map(([text, y]) => drawn("text", { x: (left + right) / 2, y: top + high * y, "text-anchor": "middle", "font-size": mark ? 11 : 10, "font-weight": mark ? "bold" : "normal", class: text === "0" ? "late" : "" }, text)),
    ...(gates ? [drawn("g", { class: "share" })] : [])]);
  for (const [x, width] of bar) cell.group.querySelector(".share").append(drawn("rect", { x: left + 3 + x, y: bottom - 13, width, height: 7 }));
}
// Many neurons as a bar: for each mark a block, as wide as the share that has it.
function drawCounts(cell) {
  const all = cell.about.flatMap(neuronsOf), groups = new Map(), [least, room] = net.counts;
  for (const n of all) {
    const [mark, look] = markOf(n), key = mark && `${mark} ${look}`;
    groups.set(key, [...groups.get(key) ?? [], n]);
  }
  const place = ([key]) => "×S0 ".indexOf(key[0] ?? " "), order = [...groups].sort((a, b) => place(a) - place(b)), spare = room - least * order.length;
  redraw(cell, (parts) => {
    const [left, right, top, bottom] = corners(parts), found = [];
    let x = left;
    const add = (width, look, words) => {
      const block = drawn("rect", { x, y: top, width, height: bottom - top }), text = drawn("text", { x: x + width / 2, y: (top + bottom) / 2 + 4, "text-anchor": "middle", "font-size": 10, "font-weight": /^\D/.test(words) ? "bold" : "normal" }, words);
      block.style.fill = `var(--${{ halt: "stop", zero: "starved" }[look] ?? look})`;
      text.style.fill = `var(--${{ halt: "on-stop", zero: "soft", ground: "soft" }[look] ?? "ink"})`;
      found.push(block, text);
      x += width;
    };
    if (cell.about.length > 1 && order.length === 1 && !order[0][0]) add(Math.max(room + 6, right - left), "ground", `${cell.about.length} layers without a mark`);
    else for (const [key, ns] of order) add(least + Math.floor(spare * ns.length / all.length), key.split(" ")[1] ?? lookOf(rms(ns.map(sizeOf))), `${key.split(" ")[0]} ${ns.length.toLocaleString("en")}`.trim());
    return found;
  });
}
function drawStrip(cell) {
  const [row] = cell.about, { low, decades, point, ceilings } = net.strip, p = passageOf(row);
  const place = (x) => (x > 0 ? Math.min(Math.max(Math.log10(x) - low, 0), decades) * point : 0);
  redraw(cell, (parts) => {
    const [left, , top, bottom] = corners(parts), block = (x, width, name) => drawn("rect", { x: left + x, y: top, width, height: bottom - top, class: name }), found = [];
    let at = 0;
    for (const [x, name] of [[place(Math.min(p.above, p.leaving)), "left"], [place(p.leaving), "gained"], [place(p.arriving), "slopes"], [place(p.above), "weights"], [decades * point, "ground"]]) {
      if (x > at) { found.push(block(at, x - at, name)); at = x; }
    }
    if (point >= 4) for (let k = 1; k < decades; k++) found.push(block(k * point, 1, "line"));
    const least = Math.min(1, ...ceilings.slice(row, -1)), tick = place(passageOf(net.rows.length - 1).leaving * ceilings.slice(row, -1).reduce((a, b) => a * b, 1));
    return [...found, ...(least < 1 && tick >= 2 ? [block(tick - 2, 2, "tick")] : [])];
  });
}
const drawings = { cell: drawNeuron, counts: drawCounts, strip: drawStrip, axis: drawAxis };
// How thick a frame is: as many of its neurons stop the gradient on all samples.
function frameWidth({ own, byLayer }) {
  const all = own.flatMap(({ kind, about }) => (kind === "counts" ? about.flatMap(neuronsOf) : kind === "equation" ? net.neurons.findIndex(({ turns }) => turns.includes(about[0])) : about)), dead = all.filter(isDead).length;
  if (!byLayer || !dead) return dead && 3;
  if (own[0].kind === "counts" && own[0].about.length > 1) return 0;  // that of several layers
  return Math.min(net.thin ? 2 : 3, 2 * dead >= all.length && all.length > 1 ? 3 : 2);
}
// The decades by name: those of the saved gradients, or of what they have become.
function scaleStrips(changed) {
  strip0 ??= { ...net.strip };
  Object.assign(net.strip, strip0);
  if (!changed) return;
  const sizes = net.rows.flatMap((_, row) => { const p = passageOf(row); return [p.arriving, p.leaving]; }).filter((x) => x > 0 && Number.isFinite(x)).map(Math.log10);
  const low = Math.floor(Math.min(...sizes, Infinity) + 1e-9), high = Math.ceil(Math.max(...sizes, -Infinity) + 1e-9);
  if (!sizes.length || (low >= strip0.low && high <= strip0.low + strip0.decades)) return;
  const wide = strip0.decades * strip0.point, decades = Math.max(3, high - low);
  Object.assign(net.strip, { low: high - decades, decades, point: wide / decades });
}
let strip0;
function drawAxis(cell) {
  const { low, decades, point } = net.strip, every = Math.ceil(42 / point);
  redraw(cell, (parts) => {
    const [first] = parts.filter(({ tagName }) => tagName === "text"), [left, y] = ["x", "y"].map((name) => Number(first.getAttribute(name)));
    return [...Array(Math.ceil(decades / every)).keys()].map((k) => drawn("text", { x: left + k * every * point, y, "font-size": 10, fill: "#6b6b6b" }, short(10 ** (low + k * every))));
  });
}
function paint(changed) {
  if (changed) findAlive();
  if (net.strip) scaleStrips(changed);
  for (const cell of cells) {
    const { kind, about } = cell;
    if (drawings[kind]) {
      if (changed) drawings[kind](cell); else if (cell.parts0) { redraw(cell); cell.look = cell.look0; }
      continue;
    }
    if (!faces[kind]) continue;
    const [words, look = cell.look0] = changed ? faces[kind](...about) : [cell.text0, cell.look0];
    cell.look = look;
    const said = typeof words === "function" ? words(cell.text0) : words ?? "";
    if (said.trim() && !cell.text && cell.room) cell.text = written(cell);
    cell.said = said;
    if (cell.text) write(cell.text, said, cell.room);
    if (kind === "parameter") {
      cell.struck0 ??= cell.text.getAttribute("text-decoration") ?? "none";
      mark(cell.text, "text-decoration", !changed ? cell.struck0 : alive.has(about[0]) ? "none" : "line-through");
    }
  }
  for (const each of outlines) {
    const wide = changed ? frameWidth(each) : 0;
    Object.assign(each, changed ? { wide: wide || 1, look: wide ? "dead" : "" } : each.saved);
  }
  for (const [line, width, dashes] of widths()) {
    line.saved ??= [line.getAttribute("stroke-width") ?? "1", line.getAttribute("stroke-dasharray")];
    const [wide, dashed] = changed ? [String(width), dashes] : line.saved;
    mark(line, "stroke-width", wide);
    if (dashed) mark(line, "stroke-dasharray", dashed); else line.removeAttribute("stroke-dasharray");
  }
}
// A text in the middle of a cell that had none.
function written({ group }) {
  const [left, right, top, bottom] = corners([group.querySelector("polygon")]), text = drawn("text", { x: (left + right) / 2, y: (top + bottom) / 2 + 4, "text-anchor": "middle", "font-size": 11 }, "");
  group.append(text);
  return text;
}
// The lines' widths: of what each carries back, the root of the sum of squares, beside the widest;
// and the dashes of those that carry nothing.
function widths() {
  if (!net.lineBy) return [];
  const carried = new Map(), byLayer = net.lineBy === "layer", add = (line, top, x) => { if (line) carried.set(line, [top, Math.hypot(carried.get(line)?.[1] ?? 0, x)]); };
  as.arrows.forEach((arrow, i) => { if (!arrow.apart && arrow.edges) for (const [node, k] of arrow.edges) add(pathOf(net.lines[i]), byLayer ? arrow.head : 0, nodes[node].along[k]?.contribution ?? 0); });
  for (const [title, weight, z] of net.bare) add(pathOf(title), byLayer ? -1 : 0, numberOf(weight) * nodes[z].grad);
  const tops = new Map();
  for (const [top, x] of carried.values()) tops.set(top, Math.max(x, tops.get(top) ?? 0));
  return [...carried].map(([line, [top, x]]) => [line, x ? 0.6 + 3 * (tops.get(top) ? Math.min(1, x / tops.get(top)) : 0) : 0.8, x ? "" : "5,2"]);
}
