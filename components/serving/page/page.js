"use strict";
// As in the report's plots (components/evaluation/pages/plots.py).
const COLOURS = { neutral: "#9aa5b1", calm: "#7bb8c4", happiness: "#f2b632", sadness: "#3b6fb6", anger: "#c8352b",
  fear: "#6b3fa0", disgust: "#4f8f3a", surprise: "#ef7fb0", other: "#6b5b4b" };
const FALLBACK = ["#b36b00", "#00798c", "#a23b72", "#5c6b73"];
const LIVE = "Live: each moment is shown as soon as it is judged.";
const RECORDING_S = 20, LIVE_S = 240; // without the stream, and with it
const NAMED_SHARE = 0.07; // a shorter stretch has no room for its name; the line below the playhead says it
const MEANINGS = {
  "confidence": "How often such answers are right, as measured on recordings of people whom the version had not seen.",
  "flash": "An expression that lasts less than about a second.",
  "sustained": "A mood: an expression that stays.",
  "transition": "The moment at which one emotion gives way to another.",
  "rests on": "The clip is judged again without its face, without its voice and so on; what the answer loses, it rested on.",
  "contradiction": "Face, voice and words, each judged alone, point to different emotions, more than in ordinary clips.",
  "unlike the training data": "The version has seen nothing like this clip; what it says about it is worth less.",
};
const $ = (id) => document.getElementById(id);
const percent = (share) => Math.round(100 * share) + " %";
const seconds = (time) => time.toFixed(1) + " s";

// Every text is inserted as a text node: nothing from a file name or a server is ever parsed as HTML.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") Object.assign(node.style, value);
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
function colourOf(classes) {
  let next = 0;
  const colours = {};
  for (const name of classes) colours[name] = COLOURS[name] || FALLBACK[next++ % FALLBACK.length];
  return colours;
}
const rendered = (people) => (people || "").startsWith("rendered");
const spokenIn = ({ language }) => language
  ? `, words in ${new Intl.DisplayNames(["en"], { type: "language" }).of(language)}` : "";
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const swatch = (colour) => el("b", { class: "swatch", style: { background: colour } });
const row = (label, content) => el("div", { class: "row" }, el("span", { class: "dim", title: label }, label), content);

// What a moment of the timeline says, in words: all scores, the highest first.
function described(moment) {
  const at = `${seconds(moment.start_s)} to ${seconds(moment.end_s)}: `;
  if (moment.emotion === null) return at + "nothing to judge";
  const scores = Object.entries(moment.posterior).sort((a, b) => b[1] - a[1]);
  const conflict = moment.contradiction === null ? ""
    : `; ${percent(moment.contradiction)} of ordinary clips are less contradictory`;
  return at + scores.map(([name, share]) => `${name} ${percent(share)}`).join(", ")
    + ` (from ${moment.present.join(", ")})` + conflict;
}

// One cell per moment; `paint` gives its colour and opacity.
function strip(timeline, paint, kind = "") {
  const node = el("div", { class: "strip " + kind });
  for (const moment of timeline) {
    const [background, opacity] = paint(moment);
    node.append(el("i", { style: { background, opacity } }));
  }
  return node;
}
function emotions(answer, colours, kind = "") {
  return strip(answer.timeline, (moment) => moment.emotion === null ? ["transparent", 1]
    : [colours[moment.emotion], 0.35 + 0.65 * moment.posterior[moment.emotion]], kind);
}
// The names below the colours: one per stretch of equal moments.
function stretches(timeline) {
  const node = el("div", { class: "names" });
  for (let first = 0, last; first < timeline.length; first = last) {
    for (last = first; last < timeline.length && timeline[last].emotion === timeline[first].emotion;) last++;
    const name = timeline[first].emotion ?? "–";
    const fits = last - first >= NAMED_SHARE * timeline.length;
    node.append(el("span", { title: name, style: { flexGrow: last - first } }, fits ? name : ""));
  }
  return node;
}
// A line from −1 (bottom) to 1 (top) over the clip, interrupted where there is no value.
function curve(timeline, name, colour) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 -1 ${timeline.length} 2`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "curve");
  const part = (kind, attributes) => {
    const node = document.createElementNS(space, kind);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    svg.append(node);
    return node;
  };
  part("line", { x1: 0, x2: timeline.length, y1: 0, y2: 0, stroke: "#8886", "vector-effect": "non-scaling-stroke" });
  let path = "", pen = "M";
  timeline.forEach((moment, step) => {
    if (moment[name] === null) { pen = "M"; return; }
    path += `${pen}${step + 0.5} ${-moment[name]}`;
    pen = "L";
  });
  part("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "vector-effect": "non-scaling-stroke" });
  return svg;
}

// The tracks over time, with a playhead that follows the player, the pointer and the keyboard; `moved` is called with the
// time that the player shows.
function tracks(answer, colours, player, moved) {
  const { timeline, clip } = answer;
  const box = el("div", { class: "tracks" });
  const line = el("div", { class: "line" });
  const readout = el("p", { class: "readout dim" });
  const head = el("input", { class: "playhead", type: "range", min: 0, max: clip.duration_s, value: 0,
    step: timeline.length ? (timeline[0].end_s - timeline[0].start_s).toFixed(3) : 0.1, "aria-label": "Time in the clip" });
  const bodies = [];
  const add = (label, content) => { bodies.push(content); box.append(row(label, content)); };
  const tell = (time) => {
    const moment = timeline.find((one) => one.end_s > time) ?? timeline[timeline.length - 1];
    readout.textContent = moment ? described(moment) : "";
    const place = bodies[0].getBoundingClientRect(), frame = box.getBoundingClientRect();
    line.style.left = `${place.left - frame.left + place.width * Math.min(1, time / clip.duration_s)}px`;
  };
  const show = (time) => { head.value = time; head.setAttribute("aria-valuetext", seconds(time)); tell(time); moved(time); };
  const seek = (time) => { if (player && "currentTime" in player) player.currentTime = time; show(time); };
  const timeAt = (event) => {
    const place = bodies[0].getBoundingClientRect();
    return clip.duration_s * Math.min(1, Math.max(0, (event.clientX - place.left) / place.width));
  };
  add("emotion", emotions(answer, colours));
  box.append(row("", stretches(timeline)));
  for (const [modality, share] of Object.entries(answer.presence)) {
    add(`${modality} ${percent(share)}`,
      strip(timeline, (moment) => [moment.present.includes(modality) ? "#3a9d5d" : "transparent", 1], "thin"));
  }
  if (timeline.some((moment) => moment.contradiction !== null)) {
    const within = (moment) => answer.contradictions.some((span) => span.onset_s < moment.end_s && span.offset_s > moment.start_s);
    add("contradiction", strip(timeline, (moment) => moment.contradiction === null ? ["transparent", 1]
      : within(moment) ? ["#d33", 1] : ["#888", 0.45 * moment.contradiction], "thin"));
  }
  if (answer.valence !== null) {
    add("pleasant", curve(timeline, "valence", "#2a9d8f"));
    add("excited", curve(timeline, "arousal", "#e07a1f"));
  }
  for (const body of bodies) {
    body.addEventListener("click", (event) => seek(timeAt(event)));
    body.addEventListener("pointermove", (event) => tell(timeAt(event)));
    body.addEventListener("pointerleave", () => tell(Number(head.value)));
  }
  head.addEventListener("input", () => seek(Number(head.value)));
  if (player) player.addEventListener("timeupdate", () => show(player.currentTime));
  box.append(line);
  const legend = el("div", { class: "legend dim" });
  for (const [name, colour] of Object.entries(colours)) legend.append(el("span", {}, swatch(colour), name));
  const axis = el("div", { class: "axis dim" }, el("span", {}, "0 s"), el("span", {}, seconds(clip.duration_s)));
  const whole = el("div", {}, box, row("", head), row("", axis), readout, row("", legend));
  new ResizeObserver(() => tell(Number(head.value))).observe(box); // also the first time that it has a size
  return { whole, seek };
}

// The columns of `Answer.to_pandas`.
function csv(answer) {
  const names = Object.keys(answer.posterior);
  const lines = [["start_s", "end_s", "emotion", "confidence", "present", "contradiction", "valence", "arousal", ...names]];
  for (const moment of answer.timeline) {
    const scores = Object.values(moment.posterior);
    lines.push([moment.start_s, moment.end_s, moment.emotion, scores.length ? Math.max(...scores) : null,
      moment.present.join("+"), moment.contradiction, moment.valence, moment.arousal,
      ...names.map((name) => moment.posterior[name] ?? null)]);
  }
  const quoted = (cell) => cell === null ? "" : /[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell);
  return lines.map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
}
function download(name, kind, text) {
  const href = URL.createObjectURL(new Blob([text], { type: kind }));
  el("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

function show(answer, player = null) {
  const colours = colourOf(Object.keys(answer.posterior));
  const over = tracks(answer, colours, player, faceOver(answer, player));
  const out = [];
  out.push(el("p", { class: "verdict" }, el("strong", {}, answer.emotion ?? "no answer"),
    answer.emotion === null ? "" : " " + percent(answer.confidence),
    el("span", { class: "dim" }, `  ${answer.clip.name}, ${seconds(answer.clip.duration_s)}${spokenIn(answer.clip)}`)));
  const model = answer.model;
  if (rendered(model.trained_on)) out.push(el("p", { class: "warn" }, `The version was trained on ${model.trained_on}.`));
  if (answer.outside_training.flag) out.push(el("p", { class: "warn" }, answer.outside_training.words));
  const contradicts = answer.contradiction.score !== null && answer.contradiction.score >= answer.contradiction.threshold;
  if (contradicts) out.push(el("p", { class: "warn bad" }, answer.contradiction.words));
  out.push(el("h2", {}, "Moment by moment"), over.whole);

  out.push(el("h2", {}, "Over the whole clip"));
  for (const [name, probability] of Object.entries(answer.posterior).sort((a, b) => b[1] - a[1])) {
    out.push(row(`${name} ${percent(probability)}`,
      el("div", { class: "bar", style: { width: 100 * probability + "%", background: colours[name] } })));
  }
  if (answer.valence !== null) {
    out.push(el("p", {}, `Valence ${signed(answer.valence)} (unpleasant −1 to pleasant 1), arousal ${signed(answer.arousal)} (calm −1 to excited 1).`));
  }
  out.push(el("h2", {}, "Do the modalities agree?"), el("p", {}, answer.contradiction.words));
  if (answer.contradictions.length) {
    const list = el("ul", {});
    for (const span of answer.contradictions) {
      list.append(el("li", {}, el("button", { type: "button", title: "play from here", onclick: () => over.seek(span.onset_s) },
        span.words)));
    }
    out.push(list);
  }
  out.push(el("p", { class: "dim" }, "Over the whole clip, each modality alone:"));
  const views = el("table");
  for (const [modality, view] of Object.entries(answer.contradiction.modalities)) {
    views.append(el("tr", {}, el("td", {}, modality), el("td", {}, view.emotion), el("td", {}, percent(view.confidence))));
  }
  out.push(views);
  if (answer.episodes.length) {
    const table = el("table", {}, el("tr", {}, ...["from", "to", "emotion", "kind", "intensity"].map((h) => el("th", {}, h))));
    for (const episode of answer.episodes) {
      const from = el("button", { type: "button", title: "play from here", onclick: () => over.seek(episode.onset_s) },
        seconds(episode.onset_s));
      table.append(el("tr", {}, el("td", {}, from), el("td", {}, seconds(episode.offset_s)),
        el("td", {}, swatch(colours[episode.emotion]), episode.emotion), el("td", {}, episode.kind),
        el("td", {}, percent(episode.intensity))));
      if (episode.why) table.append(el("tr", {}, el("td", { colspan: 5, class: "why dim" }, episode.why.words)));
    }
    out.push(el("h2", {}, "Episodes"), el("div", { class: "scroll" }, table));
  }
  if (answer.transitions.some((change) => change.why)) {
    const list = el("ul", {});
    for (const change of answer.transitions) {
      list.append(el("li", {}, el("button", { type: "button", title: "play from here", onclick: () => over.seek(change.at_s) },
        `${seconds(change.at_s)}, ${change.before} to ${change.after}`), " " + change.why.words));
    }
    out.push(el("h2", {}, "Why does it change?"), list);
  }
  out.push(el("p", { class: "dim" }, answer.outside_training.words));
  for (const note of answer.notes) out.push(el("p", { class: "dim" }, "Note: " + note));
  if (model.trained_on && !rendered(model.trained_on)) out.push(el("p", { class: "dim" }, `Trained on ${model.trained_on}.`));
  out.push(el("p", { class: "dim" }, `Answered by ${model.name} version ${model.version}, bundle ${model.bundle_sha256.slice(0, 12)}, `
    + `data ${model.data_sha256.slice(0, 12)}, code ${model.git_commit.slice(0, 12)}.`));
  const meanings = el("dl", {});
  for (const [word, meaning] of Object.entries(MEANINGS)) meanings.append(el("dt", {}, word), el("dd", {}, meaning));
  out.push(el("details", {}, el("summary", {}, "What the words mean"), meanings));
  const json = JSON.stringify(answer, null, 2);
  const save = (ending, kind, text) => el("button", { type: "button",
    onclick: () => download(`${answer.clip.name}.${ending}`, kind, text) }, `Save as ${ending.toUpperCase()}`);
  out.push(el("details", {}, el("summary", {}, "The answer as data"),
    el("p", {}, save("json", "application/json", json), " ", save("csv", "text/csv", csv(answer))), el("pre", {}, json)));
  $("answer").replaceChildren(...out);
}

// Clips in the order in which they were chosen. One is sent at a time; each keeps its own answer, and the page shows
// that of the clip which was chosen last, or clicked since.
const clips = [];
let shown = null, sending = null;

function add(files, more = extras()) {
  for (const file of files) {
    clips.push({ file, more, state: "waiting", note: "waits", source: URL.createObjectURL(file), answer: null, request: null });
  }
  open(clips[clips.length - files.length]);
  next();
}
function extras() {
  const chosen = { transcript: $("transcript").value.trim() || $("transcript-file").files[0], words: $("words").files[0],
    physio: $("physio").files[0] };
  for (const id of ["transcript", "transcript-file", "words", "physio"]) $(id).value = "";
  return chosen;
}
function open(clip) {
  shown = clip;
  $("answer").owner = null; // also of the same clip: its player is a new one
  const { file, source } = clip, kind = file.type.split("/")[0];
  const player = kind === "image" ? el("img", { src: source, alt: file.name, class: "still" })
    : el(kind === "audio" ? "audio" : "video", { controls: "", src: source, onerror: () => filmOf(clip) });
  $("media").replaceChildren(player);
  refresh();
}
// A file that the browser cannot play: the service's pictures of it, which follow the playhead.
async function filmOf(clip) {
  const { file } = clip, say = (text) => el("p", { class: "dim" }, `This browser cannot play ${file.name}. ${text}`);
  $("media").replaceChildren(say("It is analysed all the same."));
  if (!clip.film) {
    const form = new FormData(), key = $("key").value.trim();
    form.append("clip", file);
    try {
      const response = await fetch("v1/pictures",
        { method: "POST", body: form, headers: key ? { Authorization: "Bearer " + key } : {} });
      if (!response.ok) return;
      clip.film = (await response.json()).pictures;
    } catch { return; }
  }
  if (clip !== shown || !clip.film.length) return;
  const still = el("img", { alt: file.name, class: "still" });
  let at = 0;
  Object.defineProperty(still, "currentTime", { get: () => at, set: (time) => {
    at = time;
    const last = clip.film.filter((picture) => picture.at_s <= time + 0.001).pop() ?? clip.film[0];
    still.src = "data:image/jpeg;base64," + last.jpeg;
  } });
  still.currentTime = 0;
  $("media").replaceChildren(still, say("Its pictures, two per second, follow the line below."));
  $("answer").owner = null; // drawn anew around these pictures
  refresh();
}
function refresh() {
  $("history").replaceChildren(...clips.map(entry));
  const { state, note, answer } = shown;
  if (state === "done") {
    $("status").replaceChildren();
    if ($("answer").owner !== shown) show(answer, $("media").firstElementChild);
  } else {
    $("answer").replaceChildren();
    $("status").replaceChildren(el("p", state === "failed" ? { class: "warn bad" } : {},
      state === "sending" ? `Analysing ${shown.file.name} …` : note));
  }
  $("answer").owner = state === "done" ? shown : null;
}
function entry(clip) {
  const { file, state, answer } = clip;
  const colours = answer ? colourOf(Object.keys(answer.posterior)) : {};
  clip.label = el("button", { type: "button", class: "name", title: file.name, onclick: () => open(clip) }, titled(clip));
  const busy = state === "waiting" || state === "sending";
  const end = el("button", { type: "button", onclick: () => busy ? cancel(clip) : forget(clip) }, busy ? "Cancel" : "Remove");
  return el("li", clip === shown ? { class: "shown", "aria-current": "true" } : {}, clip.label,
    answer ? emotions(answer, colours, "thin") : el("span", {}), end);
}
function titled({ file, state, note, answer }) {
  const verdict = answer ? `${answer.emotion ?? "no answer"}${answer.emotion ? " " + percent(answer.confidence) : ""}`
    : state === "failed" ? "no answer" : note;
  return `${file.name} · ${verdict}`;
}
function cancel(clip) {
  clip.state = "failed";
  clip.note = `${clip.file.name} was cancelled.`;
  if (clip.request) clip.request.abort();
  refresh();
  next();
}
function forget(clip) {
  clips.splice(clips.indexOf(clip), 1);
  URL.revokeObjectURL(clip.source);
  if (clip !== shown) return refresh();
  if (clips.length) return open(clips[clips.length - 1]);
  shown = null;
  for (const id of ["history", "media", "status", "answer"]) $(id).replaceChildren();
}

function next() {
  if (sending && sending.state === "sending") return;
  sending = clips.find((clip) => clip.state === "waiting") ?? null;
  if (sending) send(sending);
}
function send(clip) {
  const form = new FormData();
  form.append("clip", clip.file);
  for (const name of ["transcript", "words"]) if (clip.more[name]) form.append(name, clip.more[name]);
  if (clip.more.physio) form.append("physio", clip.more.physio);
  const request = new XMLHttpRequest(); // unlike fetch, it tells how much is sent
  clip.request = request;
  clip.state = "sending";
  clip.note = "is sent";
  const end = (state, note) => {
    if (clip.state !== "sending") return; // it was cancelled
    Object.assign(clip, { state, note, request: null });
    if (shown) refresh();
    next();
  };
  request.upload.onprogress = ({ loaded, total }) => {
    clip.note = loaded < total ? `is sent: ${percent(loaded / total)}` : "is analysed …";
    if (clip.label) clip.label.textContent = titled(clip); // alone, so that nothing loses the focus
  };
  request.onload = () => {
    let body = null;
    try { body = JSON.parse(request.responseText); } catch { /* not JSON, such as a proxy's error page */ }
    if (request.status === 401) $("access").hidden = false;
    if (request.status === 200 && body) { clip.answer = body; return end("done", ""); }
    return end("failed", problem(body, request));
  };
  request.onerror = () => end("failed", "The service cannot be reached.");
  request.open("POST", "v1/predict?why=true");
  const key = $("key").value.trim();
  if (key) request.setRequestHeader("Authorization", "Bearer " + key);
  request.send(form);
  refresh();
}
function problem(body, request) {
  const error = body && body.error;
  if (!error) return `The service answered ${request.status}. ${request.responseText.slice(0, 200)}`;
  return [error.where, error.what].filter(Boolean).join(": ") + (error.seen ? ` (seen: ${error.seen})` : "")
    + (error.remedy ? `. ${error.remedy}` : "");
}

// Camera and microphone, or one of them: live over the stream, and recorded meanwhile. The recording stays here, as the
// clip that the answer plays; where the stream fails it is sent like any other clip.
async function record() {
  const button = $("record");
  if (button.stop) return button.stop();
  let media = null;
  for (const asked of [{ video: true, audio: true }, { audio: true }, { video: true }]) {
    try { media = await navigator.mediaDevices.getUserMedia(asked); break; } catch { /* the next one */ }
  }
  if (!media) {
    $("status").replaceChildren(el("p", { class: "warn bad" }, "This browser gives no camera or microphone to the page."));
    return undefined;
  }
  shown = null;
  const preview = el("video", { autoplay: "", playsinline: "" });
  preview.muted = true;
  preview.srcObject = media;
  $("media").replaceChildren(preview);
  $("answer").replaceChildren();
  const say = (text, kind = {}) => $("status").replaceChildren(el("p", kind, text));
  say("Beginning …");
  const parts = [], recorder = new MediaRecorder(media);
  let file = null, answer = null, failed = false, limit = null;
  const after = (lasts) => { clearTimeout(limit); limit = setTimeout(() => button.stop && button.stop(), 1000 * lasts); };
  // Both the recording and the stream have ended: the answer with its recording, or the recording to be analysed.
  const settle = () => {
    if (!file || !(answer || failed)) return;
    if (failed) return add([file]);
    answer.clip.name = file.name;
    clips.push({ file, more: {}, state: "done", note: "", source: URL.createObjectURL(file), answer, request: null });
    open(clips[clips.length - 1]);
  };
  const live = new LiveStream(media, preview, $("key").value.trim(), {
    show: (stream) => {
      if (!button.stop || shown) return;
      if (stream.moments.length && $("status").innerText !== LIVE) say(LIVE); // said once to a screen reader
      $("answer").replaceChildren(...liveView(stream));
    },
    fail: (message) => {
      failed = true;
      const why = message && message.error ? ` (${message.error.what})` : "";
      if (button.stop) { say(`Not live${why}: recording, for ${RECORDING_S} s at most …`); after(RECORDING_S); }
      settle();
    },
    done: (whole) => { answer = whole; if (button.stop) button.stop(); settle(); },
  });
  button.textContent = "Stop and analyse";
  button.stop = () => { live.end(); recorder.stop(); };
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    clearTimeout(limit);
    for (const track of media.getTracks()) track.stop();
    button.stop = null;
    button.textContent = "Go live";
    if (!failed && !answer) say("Analysing the whole …");
    const type = recorder.mimeType.split(";")[0];
    const taken = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    file = new File(parts, `live-${taken}.${type.endsWith("mp4") ? "mp4" : "webm"}`, { type });
    settle();
  };
  recorder.start();
  after(LIVE_S);
  try { await live.start(); } catch { live.over = true; live.fail(null); } // no AudioWorklet, or no WebSocket
  return undefined;
}

// The clip that the version in service brings along.
async function example() {
  const say = (text) => $("status").replaceChildren(el("p", { class: "warn bad" }, text));
  const key = $("key").value.trim();
  try {
    const response = await fetch("v1/model/example", { headers: key ? { Authorization: "Bearer " + key } : {} });
    const body = await response.json();
    if (response.status === 401) $("access").hidden = false;
    if (!response.ok) return say(body.error.what);
    const bytes = Uint8Array.from(atob(body.media), (letter) => letter.charCodeAt(0));
    return add([new File([bytes], "example.mp4", { type: "video/mp4" })], { transcript: body.transcript });
  } catch { return say("The service cannot be reached."); }
}

async function version() {
  try {
    const response = await fetch("v1/version");
    const body = await response.json();
    $("version").textContent = response.ok
      ? `${body.name} version ${body.version}; judges ${body.modalities.join(", ")}.`
        + (body.trained_on ? ` Trained on ${body.trained_on}.` : "")
      : body.error.what + ". " + (body.error.remedy || "");
  } catch { $("version").textContent = "The service cannot be reached."; }
}

$("file").addEventListener("change", () => { const files = [...$("file").files]; $("file").value = ""; if (files.length) add(files); });
for (const name of ["dragover", "dragenter"]) $("drop").addEventListener(name, (event) => {
  event.preventDefault(); $("drop").classList.add("over"); });
for (const name of ["dragleave", "drop"]) $("drop").addEventListener(name, () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => {
  event.preventDefault(); if (event.dataTransfer.files.length) add([...event.dataTransfer.files]); });
$("record").addEventListener("click", record);
$("example").addEventListener("click", example);
version();
setInterval(version, 5000);
