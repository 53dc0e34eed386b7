// Checks of the page's modules that need no page. The body of an asynchronous function: `base` is where the modules are;
// returns what is wrong, one sentence each.
const load = (name) => import(`${base}${name}.js`);
const [wire, pace, ladders, qr, ledger, webrtc, quotas, helds, sketches, wheps, relays, choosing, finding, servers] = await Promise.all(
  ["wire", "pace", "ladder", "qr", "ledger", "webrtc", "quota", "held", "sketch", "whep", "relays", "choices", "findings", "server"].map(load),
);
const wrong = [];
const same = (what, got, wanted) => {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) wrong.push(`${what}: ${a}, not ${b}`);
};
const holds = (what, condition) => condition || wrong.push(what);
const fails = (what, act, text) => {
  try {
    act();
    wrong.push(`${what} passes`);
  } catch (error) {
    holds(`${what}: ${error.message}`, error instanceof RangeError && error.message.includes(text));
  }
};

// The header, byte by byte as docs/LIVE_PROTOCOL.md has it.
{
  const bytes = wire.message({ codec: "vp8", key: true, sequence: 0x1_0203_0405, captured: 1790000000000123 }, 2);
  bytes.set([7, 8], wire.HEADER);
  same("message", [...bytes], [1, 2, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 0, 6, 0x5b, 0xfe, 0xda, 0x25, 0xe0, 0x7b, 7, 8]);
  const { data, ...head } = wire.parse(bytes.buffer);
  same("head", head, { codec: "vp8", key: true, sequence: 0x1_0203_0405, captured: 1790000000000123 });
  same("data", [...data], [7, 8]);
  const changed = (at, value) => {
    const other = bytes.slice();
    other[at] = value;
    return other.buffer;
  };
  fails("another version", () => wire.parse(changed(0, 2)), "version 2");
  fails("kind 0", () => wire.parse(changed(1, 0)), "kind 0");
  fails("kind 4", () => wire.parse(changed(1, 4)), "kind 4");
  fails("an unknown flag", () => wire.parse(changed(2, 2)), "flags 2");
  fails("a header without data", () => wire.parse(bytes.buffer.slice(0, 20)), "20 bytes");
  fails("half a header", () => wire.parse(bytes.buffer.slice(0, 9)), "9 bytes");
}

// The clock: the exchange with the shortest way counts, and says how wrong it may be.
{
  const clock = new pace.Clock();
  same("no exchange yet", [clock.offset, clock.error, clock.roundTrip], [0, null, null]);
  clock.add(1000, 1100, 6090);
  clock.add(2000, 2010, 7005);
  clock.add(3000, 3400, 8390);
  same("offset and error", [clock.offset, clock.error, clock.roundTrip], [5000, 5, 400]);
  clock.add(10, 5, 0);
  same("time that goes back is ignored", clock.error, 5);
  for (let i = 0; i < 30; i += 1) clock.add(0, 50, 125);
  same("old exchanges are forgotten", [clock.offset, clock.error], [100, 25]);
}

// The rate: up in steps, down by a factor, within its bounds.
{
  const rate = new pace.Rate({ least: 150, most: 2000, start: 1000 });
  let now = 0;
  for (let i = 0; i < 100; i += 1) rate.acknowledged((now += 33), 40);
  holds(`climbs slowly: ${rate.kbps}`, rate.kbps > 1200 && rate.kbps < 1600);
  const before = rate.kbps;
  rate.acknowledged((now += 33), 400);
  rate.acknowledged((now += 33), 400);
  same("one reaction to one full link", rate.kbps, Math.round(before * 0.7));
  const low = rate.kbps;
  for (let i = 0; i < 9; i += 1) rate.held((now += 800), 100);
  same("a long way is not a full link", rate.kbps, low);
  for (let i = 0; i < 40; i += 1) rate.held((now += 800), 500);
  same("the least", rate.kbps, 150);
  for (let i = 0; i < 60; i += 1) rate.acknowledged((now += 1500), 40);
  same("the most", rate.kbps, 2000);
  for (let i = 0; i < 60; i += 1) rate.acknowledged((now += 1500), 300);
  holds(`a longer route becomes the measure: ${rate.kbps}`, rate.kbps > 400);
}

// Sizes follow the rate without going to and fro.
{
  same("heights", [2500, 700, 300, 100].map((kbps) => pace.heightFor(kbps, 720)), [720, 480, 360, 240]);
  same("a little more is not enough", pace.heightFor(850, 480), 480);
  same("enough", pace.heightFor(1100, 480), 720);
  same("landscape", pace.sizeWithin(1920, 1080, 720), { width: 1280, height: 720 });
  same("upright", pace.sizeWithin(1080, 1920, 720), { width: 720, height: 1280 });
  same("small and odd", pace.sizeWithin(161, 121, 720), { width: 162, height: 122 });
}

// Pictures a second.
{
  const count = (limit, distance) => {
    const even = new pace.Pace(limit);
    let taken = 0;
    for (let at = 0; at < 10_000; at += distance) {
      if (!even.isDue(at)) continue;
      even.take(at);
      taken += 1;
    }
    return taken / 10;
  };
  for (const [limit, distance, least, most] of [[15, 50, 14, 15.5], [15, 1000 / 30, 14.5, 15.5], [30, 1000 / 30, 29, 30.5], [30, 1000 / 60, 29, 31], [15, 100, 10, 10]]) {
    const got = count(limit, distance);
    holds(`${got}/s of at most ${limit} from one every ${distance} ms`, got >= least && got <= most);
  }
  const pauses = [0, 1, 2, 3, 10].map((attempt) => pace.pauseBefore(attempt, 1));
  same("pauses", pauses, [500, 1000, 2000, 4000, 8000]);
  same("pauses vary", pace.pauseBefore(1, 0), 500);
  const ages = new pace.Quantiles(100);
  same("no ages", [ages.p50, ages.p99], [null, null]);
  for (let i = 1000; i > 0; i -= 1) ages.add(i);
  same("ages of the newest", [ages.p50, ages.p99], [51, 100]);
}

// Silence: a way that brings nothing while the server goes on; a source that stands still is none.
{
  const silence = new pace.Silence();
  const seen = [[0, 5, 100], [1000, 9, 130], [2000, 9, 160], [3000, 9, 190], [4100, 9, 220]];
  same("silence", seen.map((point) => silence.lasts(...point)), [false, false, false, false, true]);
  const still = new pace.Silence();
  same("standing still", [0, 2000, 4000, 9000].map((at) => still.lasts(at, 5, 100)), [false, false, false, false]);
  same("another stream", still.lasts(12_000, 5, 3), false);
}

// The ladder, in a world whose time is counted here.
{
  const world = { at: 0, sleeps: [], waits: [], now: () => world.at, random: () => 1, sleep: (ms, signal) => new Promise((done) => {
    const sleep = { ms, done };
    world.sleeps.push(sleep);
    world.waits.push(ms);
    signal.addEventListener("abort", () => {
      world.sleeps = world.sleeps.filter((other) => other !== sleep);
      done();
    }, { once: true });
  }) };
  const settle = async () => { for (let i = 0; i < 20; i += 1) await null; };
  const log = [];
  const works = { a: false, b: false, c: false };
  const ends = {};
  const rung = (name) => ({ name, open: async () => {
    log.push(name);
    if (works[name] !== true) throw works[name] || new ladders.RungError(`${name} is shut`);
    return { ended: new Promise((done) => (ends[name] = (text, kind) => done(new ladders.RungError(text, kind)))), stop: () => log.push(`-${name}`) };
  } });
  const probes = { a: false, b: false };
  const probed = (name) => ({ ...rung(name), ...(name in probes && { probe: async () => {
    log.push(`${name}?`);
    if (!probes[name]) throw new ladders.RungError(`${name} does not pass`);
  } }) });
  const began = (options = { upgrades: "probed" }) => {
    log.length = 0;
    world.sleeps.length = world.waits.length = 0;
    const states = [];
    const ladder = new ladders.Ladder(["a", "b", "c"].map(probed), (state) => states.push(state), { world, ...options });
    ladder.start();
    return { ladder, states };
  };

  works.b = true;
  let { ladder, states } = began();
  await settle();
  same("the first that works", log, ["a", "b"]);
  same("its state", states.at(-1), { phase: "running", rung: "b", reasons: [["a", "a is shut"]], wait: 0 });

  // One that proved itself is tried again first; one that ends at once is not.
  world.at += 60_000;
  ends.b("cut");
  await settle();
  same("again", log, ["a", "b", "-b", "b"]);
  works.b = false;
  works.c = true;
  world.at += 10;
  ends.b("cut again");
  await settle();
  same("one down", log.slice(4), ["-b", "c"]);
  same("reasons", states.at(-1).reasons, [["a", "a is shut"], ["b", "cut again"]]);

  // Nothing works: a pause that doubles, then from the top.
  works.c = false;
  world.at += 60_000;
  ends.c("gone");
  await settle();
  same("waiting", [states.at(-1).phase, world.sleeps.map(({ ms }) => ms)], ["waiting", [500]]);
  world.sleeps.at(-1).done();
  await settle();
  same("longer", world.sleeps.map(({ ms }) => ms), [500, 1000]);
  works.a = true;
  ladder.hurry();
  await settle();
  same("the best one at last", [states.at(-1).phase, states.at(-1).rung, states.at(-1).reasons], ["running", "a", []]);
  ladder.stop();
  await settle();
  same("stopped", log.at(-1), "-a");

  // What can never work is not tried again; a refusal ends all.
  works.a = new ladders.RungError("too old a browser", { final: true });
  ({ ladder, states } = began());
  await settle();
  world.sleeps.at(-1).done();
  await settle();
  same("not again", log, ["a", "b", "c", "b", "c"]);
  works.b = new ladders.RungError("no token", { stop: true });
  world.sleeps.at(-1).done();
  await settle();
  same("refused", [states.at(-1).phase, log.at(-1)], ["refused", "b"]);

  // A better one takes over once it works, and only then.
  Object.assign(works, { a: false, b: false, c: true });
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  world.sleeps.at(-1).done();
  await settle();
  same("tried beside it", log, ["a", "b", "c", "a", "b"]);
  works.b = true;
  world.sleeps.at(-1).done();
  await settle();
  same("taken over", log.slice(5), ["a", "b", "-c"]);
  same("running", [states.at(-1).rung, states.at(-1).reasons], ["b", [["a", "a is shut"]]]);
  same("ever more rarely", world.waits, [30_000, 60_000, 120_000]);
  ladder.stop();

  // One that has not begun in time is waited for while the next one runs, and takes over when it begins.
  const late = (name) => {
    let settle;
    const coming = new Promise((begun, failed) => (settle = { begun, failed }));
    works[name] = new ladders.Late(`${name} is late`, coming, () => log.push(`x${name}`));
    return settle;
  };
  const begun = (name) => ({ ended: new Promise((done) => (ends[name] = (text) => done(new ladders.RungError(text)))), stop: () => log.push(`-${name}`) });
  Object.assign(works, { a: false, c: true });
  let coming = late("b");
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  same("waited for", [log.join(), states.at(-1).rung, states.at(-1).reasons], ["a,b,c", "c", [["a", "a is shut"], ["b", "b is late"]]]);
  world.sleeps.at(-1).done();
  await settle();
  same("not begun twice", log.join(), "a,b,c,a");
  coming.begun(begun("b"));
  await settle();
  same("late, but better", [log.slice(4), states.at(-1).rung, states.at(-1).reasons], [["-c"], "b", [["a", "a is shut"]]]);
  ladder.stop();
  same("stopped, not given up", log.slice(5), ["-b"]);
  // One that begins while the next one still does is shown after that, not covered by it.
  coming = late("b");
  works.b = works.b.map((made) => (log.push("+b"), made));
  coming.begun(begun("b"));
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  same("shown when it takes over", [log.join(), states.at(-1).rung], ["a,b,c,-c,+b", "b"]);
  ladder.stop();
  coming = late("b");
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  coming.failed(new ladders.RungError("b never began"));
  await settle();
  same("never", [states.at(-1).rung, states.at(-1).reasons], ["c", [["a", "a is shut"], ["b", "b never began"]]]);
  ladder.stop();
  // Nothing else works; then it is given up where a better one begins, or the page stops watching.
  works.c = false;
  coming = late("b");
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  same("the last hope", [log.join(), states.at(-1).phase, world.waits], ["a,b,c", "trying", []]);
  coming.begun(begun("b"));
  await settle();
  same("begun at last", states.at(-1).rung, "b");
  ladder.stop();
  works.c = true;
  late("b");
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  works.a = true;
  world.sleeps.at(-1).done();
  await settle();
  same("given up for a better one", [log.slice(3), states.at(-1).rung], [["a", "-c", "xb"], "a"]);
  ladder.stop();
  works.a = false;
  late("b");
  ({ ladder, states } = began({ upgrades: "beside" }));
  await settle();
  ladder.stop();
  same("given up with all", log.slice(3), ["xb", "-c"]);

  // Where two must not run at a time, a probe decides before the lower one is given up.
  Object.assign(works, { a: false, b: false, c: true });
  ({ ladder, states } = began());
  await settle();
  world.sleeps.at(-1).done();
  await settle();
  same("probed, not opened", log, ["a", "b", "c", "a?", "b?"]);
  [works.b, probes.b] = [true, true];
  world.sleeps.at(-1).done();
  await settle();
  same("changed over", log.slice(5), ["a?", "b?", "-c", "b"]);
  same("runs", states.at(-1).rung, "b");
  ladder.stop();
}

// A quota that is used up: pauses that double, or as long as is asked for, until something passes.
{
  const quota = new quotas.Quota();
  const answer = (status, type, after) => ({ status, headers: new Headers({ "Content-Type": type, ...(after && { "Retry-After": after }) }) });
  const left = (at) => {
    try {
      quota.check(at);
      return 0;
    } catch (error) {
      return Number(/used up \(429\).* asked again in (\d+) s$/.exec(error.message)[1]);
    }
  };
  quota.learn(answer(429, "application/problem+json"), 0);
  quota.learn(answer(502, "text/html"), 0);
  same("the server's own limits, and other troubles", left(0), 0);
  quota.learn(answer(429, "text/html"), 0);
  quota.learn(answer(429, "text/html"), 100);
  same("several answers count once", [left(100), left(4999), left(5000)], [5, 1, 0]);
  quota.learn(answer(429, "text/plain"), 5000);
  same("twice as long", left(5000), 10);
  quota.learn(answer(429, "text/html", "77"), 20_000);
  same("as is asked for", left(20_000), 77);
  for (let at = 100_000; at < 9e6; at += 1e6) quota.learn(answer(429, "text/html"), at);
  same("the longest", left(8_100_000), 300);
  quota.learn(answer(200, "application/json"), 9e6);
  quota.learn(answer(429, "text/html"), 1e7);
  same("from the beginning", left(1e7), 5);
}

// Pictures wait for what is found in them: each is shown with its own findings, in order, and none is kept for long.
{
  const shown = [];
  const held = new helds.Held((picture, found, captured) => shown.push([captured, found.sequence]));
  const picture = document.createElement("canvas");
  const keep = (captured) => held.keep({ picture, width: 64, height: 48, captured });
  const tell = (sequence) => held.tell({ sequence, items: [] });
  const news = () => shown.splice(0);
  [1, 2, 3, 4].forEach(keep);
  held.numbered(1, 101);
  tell(101);
  same("findings after the number", news(), [[1, 101]]);
  tell(103);
  same("without a picture yet", news(), []);
  held.numbered(2, 102);
  held.numbered(3, 103);
  same("the number after the findings", news(), [[3, 103]]);
  tell(102);
  held.numbered(2, 102);
  same("older ones are gone", [news(), held.dropped.unmatched], [[], 1]);
  tell(104);
  held.numbered(4, 105);
  same("those of another frame", news(), []);
  tell(105);
  same("those of its own", news(), [[4, 105]]);
  for (let captured = 10; captured < 50; captured += 1) keep(captured);
  same("no more than that", [held.waiting.size, held.waiting.keys().next().value, held.dropped.unmatched], [16, 34, 25]);
  for (let sequence = 200; sequence < 240; sequence += 1) tell(sequence);
  same("nor of these", [held.found.size, held.found.keys().next().value], [16, 224]);
  held.begin();
  held.numbered(49, 239);
  same("another connection numbers anew", [news(), held.waiting.size, held.found.size], [[], 0, 0]);
  same("pictures are used again", held.spare.length, 16);
}

// What was found is drawn as the effect would.
{
  same("a mask", [...sketches.unpack({ width: 3, height: 2, runs: [1, 3, 2] })], [0, 1, 1, 1, 0, 0]);
  const parameters = [{ name: "color", default: "green" }, { name: "width", default: 2 }, { name: "score", default: true }];
  same("its defaults", sketches.styleOf(parameters, {}), { color: "#00ff00", width: 2, opacity: 0.4, labels: true, points: true, lines: [] });
  same("what was chosen", sketches.styleOf(parameters, { color: "#123456", score: false }).color, "#123456");
  same("no labels", sketches.styleOf(parameters, { score: false }).labels, false);

  // Lines between points, in the style of the effect whose model found them.
  const figure = { lines: [[0, 1], [1, 2], [2, 3], [1, 9]], points: false };
  const mesh = [...parameters, { name: "style", default: "tessellation" }];
  const drawn = (given) => (({ lines, points }) => ({ lines: lines.length, points }))(sketches.styleOf(mesh, given, figure));
  same("lines", drawn({}), { lines: 4, points: false });
  same("points instead", drawn({ style: "points" }), { lines: 0, points: true });
  const canvas = Object.assign(document.createElement("canvas"), { width: 100, height: 100 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const styles = { mine: sketches.styleOf(mesh, { color: "#ff0000", width: 4 }, figure), other: sketches.styleOf(parameters, { color: "#0000ff" }) };
  const red = { kind: "points", label: "face", score: 1, model: "mine", points: [[0.1, 0.1], [0.5, 0.1], [0.5, 0.9], [0.9, 0.9]], point_scores: [1, 1, 1, 0] };
  const blue = { kind: "points", label: "face", score: 1, model: "other", points: [[0.1, 0.5], [0.3, 0.5], [null, 0.5]] };
  new sketches.Sketch().draw(context, [red, blue], (model) => styles[model]);
  const at = (x, y) => [...context.getImageData(x, y, 1, 1).data];
  same("along a line", [at(30, 10), at(50, 50)], [[255, 0, 0, 255], [255, 0, 0, 255]]);
  same("not to what was not found, nor as a surface", [at(70, 90), at(40, 30)], [[0, 0, 0, 0], [0, 0, 0, 0]]);
  same("points of another model", [at(10, 50), at(20, 50)], [[0, 0, 255, 255], [0, 0, 0, 0]]);
}

// The end of a session passes tunnels that have a page of their own.
{
  const { fetch } = window;
  const asked = [];
  window.fetch = async (url, init) => (asked.push([url, init.method, init.keepalive, init.headers]), new Response(null));
  const view = new wheps.WhepDown(new URL("http://a.b/whep/cam"), async () => ({}), { ends: false });
  view.session = "http://a.b/whep/sessions/7";
  view.stop();
  view.stop();
  window.fetch = fetch;
  same("the end of a view", asked, [["http://a.b/whep/sessions/7", "DELETE", true, { "ngrok-skip-browser-warning": "1" }]]);
}

// Choices: one at a time, the newest counts, and what waits for its stream is kept.
{
  const log = [];
  const there = new Set();
  let answers = [];
  const choices = new choosing.Choices({
    send: (stream, { effect }) => {
      log.push(`${stream}:${effect}`);
      return new Promise((done, fail) => answers.push({ done, fail }));
    },
    isThere: (stream) => there.has(stream),
    taken: (stream, { effect }) => log.push(`+${stream}:${effect}`),
    refused: (why) => log.push(`refused ${why}`),
    delayed: (why) => log.push(`delayed ${why}`),
  });
  const choose = (stream, effect) => void choices.choose(stream, { effect, params: {} });
  const settle = async () => { for (let i = 0; i < 20; i += 1) await null; };
  const answer = (error) => {
    const { done, fail } = answers.shift();
    if (error) fail(error);
    else done();
    return settle();
  };
  const news = () => log.splice(0);
  ["a", "b", "c"].forEach((effect) => choose("", effect));
  same("one at a time", news(), [":a"]);
  await answer();
  same("then the newest", news(), ["+:a", ":c"]);
  holds("until it is taken it concerns every stream", choices.concern("cam"));
  await answer();
  same("and no more", [news(), choices.concern("cam"), choices.taken], [["+:c"], false, 2]);
  choose("cam", "d");
  same("a stream that is not there", [news(), choices.concern("cam"), choices.concern("other")], [[], true, false]);
  there.add("cam");
  void choices.go();
  same("once it is", news(), ["cam:d"]);
  await answer(new servers.Refusal(404, "it is gone", "unknown_stream"));
  same("it went away", [news(), choices.concern("cam")], [["delayed it is gone"], true]);
  void choices.go();
  await answer(new TypeError("no network"));
  same("no network", [news(), choices.concern("cam")], [["cam:d", "delayed no network"], true]);
  void choices.go();
  await answer(new servers.Refusal(502, "a tunnel's trouble"));
  void choices.go();
  await answer(new servers.Refusal(422, "out of range", "parameter_out_of_range"));
  same("refused", [news(), choices.concern("cam"), choices.taken], [["cam:d", "delayed a tunnel's trouble", "cam:d", "refused out of range"], false, 2]);
  choose("late", "e");
  choose("", "f");
  await answer();
  same("one for all is newer than one for a stream", [news(), choices.concern("late")], [[":f", "+:f"], false]);
}

// What was asked for counts by the bytes that came.
{
  const { fetch } = window;
  const body = '{ "sequence": 1,  "items": ["é"] }';
  window.fetch = async () => new Response(body, { headers: { "Content-Type": "application/json" } });
  const told = [];
  const asked = new finding.FindingsAsked(() => servers.weighed("streams/cam/annotations"), (found) => told.push(found.items));
  await asked.step();
  window.fetch = fetch;
  same("findings and their bytes", [told, asked.received, asked.bytes], [[["é"]], 1, 35]);
}

// QR codes: the Reed-Solomon example of the standard's readers, and symbols that other encoders made.
{
  const data = [32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17];
  same("correction", qr.correction(data, 10), [196, 35, 39, 119, 235, 215, 231, 226, 93, 23]);
  const golden = [
    { text: "http://a.b/", mask: 3, rows: [
      "111111101110101111111",
      "100000101011101000001",
      "101110100101101011101",
      "101110101100001011101",
      "101110100001001011101",
      "100000100101101000001",
      "111111101010101111111",
      "000000001101100000000",
      "101101110101101001011",
      "111000001101100111111",
      "110101111101011101011",
      "010010001001010101010",
      "000001111000101011001",
      "000000001001010010000",
      "111111101101111010000",
      "100000101000010011111",
      "101110100010100110100",
      "101110101010010000010",
      "101110101110101100100",
      "100000100100101011001",
      "111111101111111001100",
    ] },
    { text: "http://a.b/vie", mask: 3, rows: [
      "111111101000101111111",
      "100000101111101000001",
      "101110100110101011101",
      "101110101101001011101",
      "101110100111001011101",
      "100000100000001000001",
      "111111101010101111111",
      "000000001110000000000",
      "101101110011001001011",
      "001110001110000111111",
      "001011110010011101011",
      "011001000101010101010",
      "101100100110001011001",
      "000000001011110010000",
      "111111101101011010000",
      "100000101010010011101",
      "101110100000000110110",
      "101110101011110000010",
      "101110101011101100100",
      "100000100100101011001",
      "111111101011111001100",
    ] },
    { text: "https://rapid-otter-lake.trycloudflare.com/view?stream=camera-x7k2&a=1234567zzzzzzzz", mask: 5, rows: [
      "1111111001000101110000100110001111111",
      "1000001011101011010011101010101000001",
      "1011101010101000001111010001101011101",
      "1011101010011010010011001101001011101",
      "1011101000100010011111111010101011101",
      "1000001000010010011000000010101000001",
      "1111111010101010101010101010101111111",
      "0000000011111101101010100011100000000",
      "1000001010101110010010001110011001110",
      "0110110011110010110110011001000110010",
      "0001101100000111000001101011101010011",
      "1000000100101011001110011000000001001",
      "0111001010110110100110011001101001001",
      "1111010000000101111111110001100101000",
      "0011101100000101111011100101111111011",
      "0000000100101101001000011010011101100",
      "1101011010100100110010010110011110111",
      "0100010100011101100100111001100101010",
      "1101001001110001111100110101011110101",
      "0001010101010011000010011011011101001",
      "1100111100111110010010111111011010100",
      "0000000110010001010100010001110010110",
      "0011011100001011111011000001001111011",
      "0100110100010001001110101010111111010",
      "0010111001010111000000111011101000000",
      "1111100111100111100101110001100101000",
      "1001001100111101011001000101101110111",
      "1010010001101101101000010010001010101",
      "1011001010110000010000101100111110111",
      "0000000010001001111110010100100010000",
      "1111111001011101101110111100101010011",
      "1000001000011101101010000011100010011",
      "1011101001100100110110010111111110110",
      "1011101001001101000110011101111001011",
      "1011101001001111000010001011100000111",
      "1000001001001011000100101011110011001",
      "1111111011100100101110001001101100001",
    ] },
  ];
  for (const { text, mask, rows } of golden) same(`the code of ${text}`, qr.encode(text, mask).map((row) => row.join("")), rows);
  for (const [length, size] of [[14, 21], [15, 25], [84, 37], [122, 45], [213, 57]]) same(`${length} bytes`, qr.encode("x".repeat(length)).length, size);
  fails("too much", () => qr.encode("x".repeat(214)), "214");
  same("path", qr.toPath([[1, 0], [0, 1]]), { size: 10, path: "M4 4h1v1h-1zM5 5h1v1h-1z" });
}

// The ledger: what nobody measured is the network, and the parts add up to the age.
{
  const q = (p50) => ({ p50, p99: p50 });
  const list = ledger.parts([{ stage: "decode", ...q(4) }, { stage: "sepia", ...q(6) }], { age: q(40), encode: q(5), show: q(3) });
  same("parts", list.map(({ name, p50 }) => [name, p50]), [["Encode here", 5], ["Decode", 4], ["Sepia", 6], ["Network and waiting", 22], ["Decode and show here", 3]]);
  same("without a view", ledger.parts([], { age: null, encode: null, show: null }), []);
}

// A server that answers by another pair of candidates than the one that is sent by is not silent.
{
  const heardBy = async (sending, other) => {
    const pair = (id, packetsReceived) => ({ id, type: "candidate-pair", state: "succeeded", nominated: true, packetsReceived });
    const stats = [{ id: "t", type: "transport", selectedCandidatePairId: "a" }, pair("a", sending), pair("b", other)];
    const sender = new webrtc.WebRtcSender(new MediaStream(), "a", () => Promise.reject(new Error("none")), () => {});
    const peer = { connectionState: "connected", getStats: async () => new Map(stats.map((s) => [s.id, s])), close: () => {} };
    Object.assign(sender, { peer, at: performance.timeOrigin + performance.now(), heard: { count: 5, at: 0 } });
    await sender.report(peer);
    return (await Promise.race([sender.ended, Promise.resolve(null)]))?.message ?? "";
  };
  same("by the other pair", await heardBy(0, 6), "");
  same("by the pair that is sent by", await heardBy(6, 0), "");
  holds("by none", (await heardBy(0, 5)).includes("the server was silent"));
}

// The rungs of WebRTC: the pair that was selected says which it is, and one connection serves whoever asks for that.
{
  const road = (local, remote) => {
    const pair = { id: "p", type: "candidate-pair", localCandidateId: "l", remoteCandidateId: "r" };
    return relays.roadOf([{ type: "transport", selectedCandidatePairId: "p" }, pair, { id: "l", ...local }, { id: "r", ...remote }]);
  };
  const [host, relay] = [{ candidateType: "host" }, (relayProtocol) => ({ candidateType: "relay", relayProtocol })];
  same("direct", [road(host, host), road({ candidateType: "srflx" }, { candidateType: "prflx" })], ["webrtc", "webrtc"]);
  same("relayed", ["udp", "tcp", "tls"].map((protocol) => road(relay(protocol), host)), ["turn-udp", "turn-tcp", "turn-tcp"]);
  same("by the server's relay", road(host, relay(undefined)), "turn-udp");
  const iceServers = [{ urls: "stun:a" }, { urls: ["turn:b", "turn:b?transport=tcp", "turns:b?transport=tcp"], username: "u", credential: "c" }];
  const urls = (name) => relays.configurationFor(iceServers, name).iceServers.flatMap((server) => server.urls);
  same("servers of each", ["", ...relays.ROADS].map(urls), [
    ["stun:a", "turn:b", "turn:b?transport=tcp", "turns:b?transport=tcp"],
    ["stun:a"],
    ["turn:b"],
    ["turn:b?transport=tcp", "turns:b?transport=tcp"],
  ]);
  same("only relays", relays.configurationFor(iceServers, "turn-tcp").iceTransportPolicy, "relay");
  const climb = async (forced, roads, takes) => {
    const tried = [];
    let open = 0;
    const connect = async (asked) => {
      tried.push(asked);
      const took = takes(asked);
      if (!took) throw new ladders.RungError("no way");
      open += 1;
      return { took, stop: () => (open -= 1) };
    };
    const all = new relays.Roads(connect, async (made) => made.took, forced);
    const outcomes = [];
    for (const name of roads) outcomes.push(await all.open(name, new AbortController().signal).then((made) => made.took, (error) => error.message));
    return [outcomes, tried, open];
  };
  same("a relay over TCP", await climb(false, relays.ROADS, () => "turn-tcp"), [["nothing but a relay answered", "no relay that is reached over UDP answered", "turn-tcp"], [""], 1]);
  same("no way", await climb(false, relays.ROADS, () => ""), [["no way", "no way", "no way"], [""], 0]);
  same("by itself", await climb(false, ["turn-udp"], (asked) => asked), [["turn-udp"], ["turn-udp"], 1]);
  same("forced, but it took another", await climb(true, ["webrtc"], () => "turn-udp"), [["nothing but a relay answered"], ["webrtc"], 0]);
}
return wrong;
