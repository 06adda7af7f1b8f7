// A net: its cells, each about the nodes of some boxes, its home, and about numbers of the net's.
const WORDS = ["state", "tally", "kind", "off", "ailment", "factor", "split", "left", "strip", "axis", "share", "saved", "reads 0", "reads 1"];
const cells = net.cells.map(([kind, homes, ...about], i) => {
  const group = $(`a_c${i}`), shape = group.querySelector("polygon"), text = [...group.querySelectorAll("text")].at(-1);
  const look = kind === "saved" ? "bare" : net.looks[shape?.getAttribute("fill")] ?? (text?.getAttribute("fill") === net.stop ? "off" : "bare"), words = WORDS.includes(kind);
  group.classList.add("cell", ...(words ? ["words"] : []), kind.split(" ")[0]);
  group.append(drawn("title"));
  const cell = { kind, homes, about, group, text, words, look, text0: text?.textContent, look0: look, born: Math.max(...homes.map((box) => born[box])), final: Math.max(turn, ...homes.map((box) => final[box])) };
  if (!words) choosable(group, homes.at(-1));
  if (shape && kind !== "strip") cell.room = ends(group)[1] - ends(group)[0] - 4;
  if (text && kind !== "cell" && kind !== "axis") anchor(cell, { state: "end", left: "end", loss: net.strip ? "middle" : "end", ailment: shape ? "middle" : "end", factor: "start", split: "start", equation: "start", kind: "start", off: "start" }[kind.split(" ")[0]] ?? "middle");
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
arrows.forEach((arrow, i) => {
  const cell = arrow.edges?.length === 1 && slopeCells.get(`${arrow.edges[0][0]},${boxes[arrow.tail].node}`);
  if (!cell) return;
  cell.arrow = i;
  barOf.set(i, cell.group);
});
for (const group of document.querySelectorAll("#picture .node")) group.setAttribute("class", "box");
$("picture").classList.add("net");
put($("answer"), net.answer);
$("answer").hidden = false;

// The cells at a moment, when so much is known.
function renderCells(grads, reached) {
  for (const cell of cells) {
    const { kind, group, text, homes } = cell, done = now >= cell.final, grad = grads[homes[0]];
    group.classList.toggle("unborn", cell.born > now);
    group.classList.toggle("waiting", !done);
    const halts = cell.look === "halt" && kind.startsWith("slope"), met = cell.arrow === undefined ? done : reached.has(cell.arrow);
    wear(group, halts ? (met ? "halt" : "shut") : done || kind.startsWith("slope") ? cell.look : "shut");
    if (halts) write(text, met ? "×0 STOP" : "×0", cell.room);
    if (["grad", "end", "leaving"].includes(kind) && homes.length === 1 && !boxes[homes[0]].fold) write(text, grad === undefined ? " " : (kind === "leaving" ? "= " : "") + short(grad), cell.room);
  }
}

const looksNow = () => cells.map(({ look }) => look);

// --- a net's cells, anew ----------------------------------------------------------------------------
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
function drawNeuron(cell) {
  const [n] = cell.about, { index, turns, gate } = net.neurons[n], off = offOn(n), shape = cell.parts0?.[0] ?? cell.group.querySelector("polygon");
  const [left, right, top, bottom] = corners([shape]), high = bottom - top, named = high > 40;
  const mark = isShut(n) ? "×" : isFlat(n) ? "S" : turns.every((t) => !alive.has(net.turns[t].at(-1))) ? "0" : "";
  cell.look = { "×": isDead(n) ? "halt" : "zero", S: "o0", 0: "zero" }[mark] ?? lookOf(rms(gradsOf(turns, zOf)));
  const texts = [named ? `[${index}]` : "", mark || (named && gate && off ? `off ${off}` : "")].filter(Boolean);
  const bar = named && gate && !mark ? [[off / turns.length, 0], [1 - off / turns.length, off / turns.length]] : [], wide = right - left - 6;
  redraw(cell, () => [shape, ...texts.map((text, i) => drawn("text", { x: (left + right) / 2, y: top + high * (named ? 0.3 + 0.32 * i : 0.5) + 4, "text-anchor": "middle", "font-size": 10 }, text)),
    ...(bar.length ? [drawn("g", { class: "share" })] : [])]);
  for (const [share, at] of bar) cell.group.querySelector(".share").append(drawn("rect", { x: left + 3 + wide * at, y: bottom - 10, width: wide * share, height: 7 }));
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
const drawings = { cell: drawNeuron, strip: drawStrip, axis: drawAxis };
// The frames of layers and neurons that stop the gradient on all samples.
function frame(changed) {
  const dead = new Set();
  for (const { kind, about: [n], group } of cells) if ((kind === "cell" || kind === "state") && isDead(n)) dead.add(group.closest(".box"));
  $("picture").classList.toggle("changed", changed);
  for (const box of document.querySelectorAll("#picture .box")) box.classList.toggle("dead", dead.has(box));
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
    if (kind === "saved") cell.group.classList.toggle("stale", changed);  // it can't follow
    if (!faces[kind]) continue;
    const [words, look = cell.look0] = changed ? faces[kind](...about) : [cell.text0, cell.look0];
    cell.look = look;
    const said = typeof words === "function" ? words(cell.text0) : words ?? "";
    if (said.trim() && !cell.text && cell.room) cell.text = written(cell);
    if (cell.text) write(cell.text, said, cell.room);
  }
  frame(changed);
  for (const [line, width] of widths()) {
    line.width0 ??= line.getAttribute("stroke-width");
    mark(line, "stroke-width", changed ? String(width) : line.width0 ?? "1");
  }
}
// A text in the middle of a cell that had none.
function written({ group }) {
  const [left, right, top, bottom] = corners([group.querySelector("polygon")]), text = drawn("text", { x: (left + right) / 2, y: (top + bottom) / 2 + 4, "text-anchor": "middle", "font-size": 11 }, "");
  group.append(text);
  return text;
}
// The lines' widths: of what each carries back, the root of the sum of squares, beside the widest.
function widths() {
  const carried = new Map(), add = (line, top, x) => { if (line) carried.set(line, [top, Math.hypot(carried.get(line)?.[1] ?? 0, x)]); };
  const pathOf = (title) => (/->loss\b/.test(title) ? undefined : titled.get(title)?.querySelector("path"));
  as.arrows.forEach((arrow, i) => { if (!arrow.apart && arrow.edges) for (const [node, k] of arrow.edges) add(pathOf(net.lines[i]), net.byLayer ? arrow.head : 0, nodes[node].along[k]?.contribution ?? 0); });
  for (const [title, weight, z] of net.bare) add(pathOf(title), net.byLayer ? -1 : 0, numberOf(weight) * nodes[z].grad);
  const tops = new Map();
  for (const [top, x] of carried.values()) tops.set(top, Math.max(x, tops.get(top) ?? 0));
  return [...carried].map(([line, [top, x]]) => [line, 0.6 + 3 * (tops.get(top) ? Math.min(1, x / tops.get(top)) : 0)]);
}
