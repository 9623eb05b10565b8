// The operator's page: asks the server every two seconds and shows what it says, in the words of
// page-text.js. All that comes from the server is set as text. The token is sent as a header; it
// stays in this module's memory, or in the tab's storage when the reader asks for that.

import * as text from "./page-text.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;
const KEPT = "token";
const HEALTH = "/v1/operator/autopilot/health";
const LIMITS = "/v1/operator/autopilot/configuration";
const ICONS = {
  good: "/ui/favicon.svg",
  quiet: "/ui/favicon.svg",
  warn: "/ui/favicon-warn.svg",
  bad: "/ui/favicon-bad.svg",
};

let token = sessionStorage.getItem(KEPT) ?? "";
let refused = null; // the answer that refused this token; not asked again until another is given
let self = null; // the answer of token/self for this token; asked once
let answered = 0;

const at = (id) => document.getElementById(id);

/** One request; never throws. `status` is 0 when nothing answered. */
async function ask(path) {
  const headers = token ? { "X-Nomad-Token": token } : {};
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const response = await fetch(path, { headers, signal, cache: "no-store" });
    const body = await response.text();
    const isJson = (response.headers.get("Content-Type") ?? "").startsWith("application/json");
    return { status: response.status, text: body, value: isJson ? JSON.parse(body) : null };
  } catch {
    return { status: 0, text: "", value: null };
  }
}

/** Show a state: its kind, a word for the title of the tab, a sentence and advice. */
function say({ kind, word, sentence, advice = "" }, commands = []) {
  at("summary").className = kind;
  setText("sentence", sentence);
  setText("advice", advice);
  const shown = commands.join("\n");
  setText("commands", shown);
  at("commands").hidden = !shown;
  document.title = `${word} – bellcow`;
  const icon = ICONS[kind];
  if (at("icon").getAttribute("href") !== icon) at("icon").setAttribute("href", icon);
}

/** Set a text unless it stands there: what is read aloud on a change is not read again. */
function setText(id, value) {
  if (at(id).textContent !== value) at(id).textContent = value;
}

function cell(row, name, { text: words, small = "", kind = "", title = "" }) {
  const td = row.insertCell();
  td.dataset.name = name;
  td.className = kind;
  td.title = title;
  td.append(words);
  if (small) {
    const note = document.createElement("small");
    note.textContent = small;
    td.append(note);
  }
}

function showRows(rows) {
  const body = document.createElement("tbody");
  body.id = "rows";
  for (const cells of rows) {
    const row = body.insertRow();
    for (const [name, content] of Object.entries(cells)) cell(row, name, content);
  }
  at("rows").replaceWith(body);
  at("servers").hidden = rows.length === 0;
}

function showFacts({ leader, leaderAddress, tolerance, toleranceKind, version }, changed) {
  setText("leader", leader);
  at("leader").title = leaderAddress;
  setText("tolerance", tolerance);
  at("tolerance").className = toleranceKind;
  setText("version", version);
  const now = Date.now();
  setText("changed", changed ? `${text.clock(changed, now)} (${text.since(changed, now)} ago)` : "–");
  at("changed").title = changed;
}

function hideServers(leader) {
  showRows([]);
  const nothing = { leaderAddress: "", tolerance: "–", toleranceKind: "", version: "–" };
  showFacts({ leader, ...nothing }, "");
}

/** Who reads; the field for a token is there only where ACLs are on. */
async function refreshReader() {
  self ??= await ask("/v1/acl/token/self?stale");
  if (self.status === 0) {
    self = null;
    return;
  }
  const who = text.reader(self, token !== "");
  at("access").hidden = who === null;
  setText("who", who ?? "");
  if (who !== null && token && !self.value) refused = self;
}

async function refresh() {
  const [leader, regions] = await Promise.all([
    ask("/v1/status/leader?stale"),
    ask("/v1/regions"),
  ]);
  if (leader.status === 0) {
    const sentence = "✗ This server does not answer.";
    const advice = "Is it running? What stands below may be out of date.";
    say({ kind: "bad", word: "✗ no answer", sentence, advice });
    return;
  }
  answered = Date.now();
  setText("region", (regions.value ?? []).join(", ") || "–");
  await refreshReader();
  await refreshHealth(leader.value);
}

/** Ask the leader; without one, the server that serves this page for what it knows itself. */
async function refreshHealth(leaderAddress) {
  const stale = leaderAddress ? "" : "?stale";
  const limits = refused ?? (await ask(LIMITS + stale));
  if (limits.status === 403 || limits.status === 429) {
    if (!refused) self = null; // ACLs may have been switched on: ask again who reads
    refused = limits;
    hideServers(leaderAddress || "none");
    if (leaderAddress) say(text.refusalState(limits, token !== ""));
    else say(text.leaderlessState(null, Date.now()), text.leaderlessCommands(location.origin));
    return;
  }
  // An unhealthy cluster answers 429, so this is asked only with the right to ask.
  const health = await ask(HEALTH + stale);
  const members = (await ask("/v1/agent/members")).value;
  showMembers(members?.Members ?? []);
  if (!health.value) {
    const sentence = "✗ The server refused.";
    say({ kind: "bad", word: "✗ refused", sentence, advice: health.text });
    return;
  }
  showHealth(health.value, limits.value ?? {}, members, leaderAddress);
}

function showHealth(health, limits, members, leaderAddress) {
  const now = Date.now();
  const here = (each) => each.Tags?.region === members.ServerRegion;
  const ours = members ? members.Members.filter(here) : [];
  showRows(text.rows(health, limits, ours, now));
  showFacts(text.facts(health), text.lastChange(health));
  if (leaderAddress) say(text.ledState(health, now));
  else say(text.leaderlessState(health, now), text.leaderlessCommands(location.origin));
}

/** What is wrong with members, said as long as it is so: open ports, and one name for several. */
function showMembers(members) {
  const open = members.filter((each) => each.Tags?.open_peers).map((each) => each.Name);
  at("open").hidden = open.length === 0;
  setText("open-names", open.join(", "));
  const shared = text.sharedNames(members);
  at("shared").hidden = !shared;
  setText("shared-names", shared);
}

function showAge() {
  const seconds = Math.round((Date.now() - answered) / 1000);
  setText("asof", answered ? `As of ${seconds <= 3 ? "now" : `${seconds} s ago`}.` : "");
}

let asking = false;

/** One round at a time, and none while nobody looks. */
async function round() {
  if (asking || document.hidden) return;
  asking = true;
  await refresh();
  asking = false;
  showAge();
}

function keepToken() {
  if (at("keep").checked && token) sessionStorage.setItem(KEPT, token);
  else sessionStorage.removeItem(KEPT);
}

at("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  refused = self = null;
  keepToken();
  round();
});
at("keep").addEventListener("change", keepToken);
at("token").value = token;
at("keep").checked = token !== "";
document.addEventListener("visibilitychange", round);
setInterval(round, EVERY_MS);
round();
