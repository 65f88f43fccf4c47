"use strict";
// Camera and microphone over the live stream (docs/stream.md): what is sent, and the steps as they come back.
const PICTURE_MS = 80, PICTURE_PX = 640, SOUND_S = 0.1, MOST_HZ = 48000, KEPT_S = 30, SHOWN_STEPS = 300, AGAIN_MS = 500;
const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; } });`;

// One byte for the kind, eight for the time, then the samples or the JPEG.
function pieceOf(kind, time, content) {
  const message = new Uint8Array(9 + content.byteLength), head = new DataView(message.buffer);
  head.setUint8(0, kind.charCodeAt(0));
  head.setFloat64(1, time);
  message.set(new Uint8Array(content), 9);
  return message;
}

// A stream while it runs. `show` gets all steps so far, `fail` an error before or after, `done` the answer of the whole.
class LiveStream {
  constructor(media, preview, key, { show, fail, done }) {
    Object.assign(this, { media, preview, key, show, fail, done });
    this.moments = []; this.kept = []; this.token = null; this.ready = false; this.over = false; this.ending = false;
  }
  async start() {
    this.sound = this.media.getAudioTracks().length ? await this.listen() : null;
    this.pictures = this.media.getVideoTracks().length > 0;
    this.zero = performance.now();
    if (this.pictures) this.timer = setInterval(() => this.look(), PICTURE_MS);
    this.connect();
  }
  async listen() {
    let context = new AudioContext();
    if (context.sampleRate > MOST_HZ) { await context.close(); context = new AudioContext({ sampleRate: MOST_HZ }); }
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    let blocks = [], size = 0, samples = null;
    tap.port.onmessage = ({ data }) => {
      // Sound counts its own time from here on; its beginning is placed on the clock of the pictures.
      samples ??= Math.round((performance.now() - this.zero) / 1000 * context.sampleRate);
      blocks.push(data); size += data.length;
      if (size < SOUND_S * context.sampleRate) return;
      const pcm = new DataView(new ArrayBuffer(2 * size));
      let at = 0;
      for (const block of blocks) for (const value of block) {
        pcm.setInt16(at, Math.max(-1, Math.min(1, value)) * 32767, true);
        at += 2;
      }
      this.send("S", samples / context.sampleRate, pcm.buffer);
      samples += size; blocks = []; size = 0;
    };
    context.createMediaStreamSource(this.media).connect(tap);
    this.context = context;
    return { rate_hz: context.sampleRate, format: "s16le" };
  }
  async look() {
    const { videoWidth, videoHeight } = this.preview;
    if (!videoWidth || this.looking || this.ending) return;
    this.looking = true;
    const time = (performance.now() - this.zero) / 1000, scale = Math.min(1, PICTURE_PX / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale); canvas.height = Math.round(videoHeight * scale);
    canvas.getContext("2d").drawImage(this.preview, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((taken) => canvas.toBlob(taken, "image/jpeg", 0.85));
    if (blob) this.send("P", time, await blob.arrayBuffer());
    this.looking = false;
  }
  connect() {
    const address = new URL("v1/stream", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.socket = new WebSocket(address, this.key ? ["mer.stream", "mer.key." + this.key] : ["mer.stream"]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify(this.token
      ? { type: "resume", token: this.token, steps: this.moments.length }
      : { type: "begin", sound: this.sound, pictures: this.pictures }));
    this.socket.onmessage = ({ data }) => this.hear(JSON.parse(data));
    this.socket.onclose = () => this.closed();
  }
  hear(message) {
    if (message.type === "begun") {
      this.token = message.token; this.ready = true; this.within = 1000 * message.resume_within_s; this.lost = null;
      this.colours = colourOf(message.classes);
      const from = { S: message.sound_s, P: message.pictures_s };
      for (const { kind, time, bytes } of this.kept) if (time >= from[kind] - 1e-3) this.socket.send(bytes);
      if (this.ending) this.socket.send('{"type": "end"}');
    } else if (message.type === "steps") {
      this.moments.push(...message.moments);
      this.show(this);
    } else {
      this.close();
      if (message.type === "answer") this.done(message.answer); else this.fail(message);
    }
  }
  send(kind, time, content) {
    if (this.over || this.ending) return;
    const bytes = pieceOf(kind, time, content);
    this.kept.push({ kind, time, bytes });
    while (this.kept.length && this.kept[0].time < time - KEPT_S) this.kept.shift();
    if (this.ready && this.socket.readyState === WebSocket.OPEN) this.socket.send(bytes);
  }
  closed() {
    if (this.over) return;
    this.ready = false;
    this.lost ??= performance.now();
    if (this.token && performance.now() - this.lost < this.within) setTimeout(() => this.over || this.connect(), AGAIN_MS);
    else { this.close(); this.fail(null); }
  }
  // No more is sent; the answer follows.
  end() {
    this.ending = true;
    this.release();
    if (this.ready && this.socket.readyState === WebSocket.OPEN) this.socket.send('{"type": "end"}');
  }
  release() {
    clearInterval(this.timer);
    if (this.context && this.context.state !== "closed") this.context.close();
  }
  close() {
    this.over = true;
    this.release();
    this.socket.close();
  }
}

// The last half minute, and what the newest step says.
function liveView({ moments, colours, zero }) {
  const timeline = moments.slice(-SHOWN_STEPS), now = timeline[timeline.length - 1];
  const first = timeline[0];
  const out = [el("p", { class: "verdict" }, el("strong", {}, now.emotion ?? "nothing to judge"),
    now.emotion === null ? "" : " " + percent(now.posterior[now.emotion]),
    el("span", { class: "dim" }, `  at ${seconds(now.end_s)}, ${seconds((performance.now() - zero) / 1000 - now.end_s)} ago`))];
  out.push(row("emotion", emotions({ timeline }, colours)), row("", stretches(timeline)));
  const modalities = [...new Set(timeline.flatMap((moment) => moment.present))].sort();
  for (const name of modalities) {
    out.push(row(name, strip(timeline, (moment) => [moment.present.includes(name) ? "#3a9d5d" : "transparent", 1], "thin")));
  }
  out.push(row("", el("div", { class: "axis dim" }, el("span", {}, seconds(first.start_s)), el("span", {}, seconds(now.end_s)))));
  out.push(el("p", { class: "readout dim" }, described(now)));
  const legend = el("div", { class: "legend dim" });
  for (const [name, colour] of Object.entries(colours)) legend.append(el("span", {}, swatch(colour), name));
  out.push(row("", legend));
  return out;
}
