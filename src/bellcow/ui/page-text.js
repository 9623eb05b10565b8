// What the page says about the answers of the API. Pure: values and the time in, text out; it
// neither asks a server nor knows the document.

const UNITS_MS = { ns: 1e-6, us: 1e-3, "µs": 1e-3, "μs": 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };
const NEVER = "0001-01-01T00:00:00Z";
const DAY_MS = 864e5;
const REMOVED_BY = {
  autopilot: "removed by autopilot",
  operator: "removed by an operator",
  itself: "left",
};

/** Milliseconds of a duration such as 1m30s; -1 for one that is not known. */
export function milliseconds(duration) {
  if (duration.startsWith("-")) return -1;
  let sum = 0;
  for (const [, number, unit] of duration.matchAll(/([\d.]+)(h|ms|m|s|us|µs|μs|ns)/g)) {
    sum += Number(number) * UNITS_MS[unit];
  }
  return sum;
}

/** A duration without the digits that nobody reads: 27.291304ms -> 27ms. */
function rounded(duration) {
  const ms = milliseconds(duration);
  return ms < 10000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 1000)}s`;
}

/** How long from `time` to `now` (milliseconds since 1970), in one unit: 3 d, 2 h, 5 min, 12 s. */
export function since(time, now) {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds >= 172800) return `${Math.floor(seconds / 86400)} d`;
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds)} s`;
}

/** The time of day where the reader is, with the date of another day: 21:26:44. */
export function clock(time, now) {
  const moment = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
  const hours = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":");
  const today = new Date(now).toDateString() === moment.toDateString();
  return today ? hours : `${day} ${hours}`;
}

/** Whether a server takes part, by what the one that is asked has heard of it. */
const answers = (server) => server.SerfStatus === "alive" && milliseconds(server.LastContact) >= 0;
const isKnown = (time) => Boolean(time) && time !== NEVER;
const nameOf = (server) => server.Name || server.ID;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** When the health of a server changed last, of all of them the latest; "" where none is known. */
export function lastChange(health) {
  const times = (health.Servers ?? []).map((each) => each.StableSince);
  for (const each of health.Removed ?? []) times.push(each.Removed);
  return times.filter(isKnown).sort().at(-1) ?? "";
}

/** Why a server is not healthy, by the limits that autopilot judges by. */
function reason(server, leader, limits) {
  if (server.SerfStatus === "none") return "it has not been heard of yet";
  if (server.SerfStatus !== "alive") return `its member state is ${server.SerfStatus}`;
  const contact = milliseconds(server.LastContact);
  if (contact < 0) return "it does not answer";
  if (contact > milliseconds(limits.LastContactThreshold)) {
    return `last contact ${rounded(server.LastContact)} ago, limit ${limits.LastContactThreshold}`;
  }
  if (leader && server.LastTerm !== leader.LastTerm) {
    return `it is in term ${server.LastTerm}, the leader in ${leader.LastTerm}`;
  }
  const behind = leader ? leader.LastIndex - server.LastIndex : 0;
  if (behind > limits.MaxTrailingLogs) {
    return `it is ${behind} entries behind, limit ${limits.MaxTrailingLogs}`;
  }
  return "it has only just recovered";
}

function contactOf(server, leader, limits, now) {
  if (server.Leader) return { text: "leads" };
  if (!leader && answers(server)) return { text: "–" };
  if (milliseconds(server.LastContact) >= 0) {
    return { text: rounded(server.LastContact), small: `limit ${limits.LastContactThreshold}` };
  }
  if (isKnown(server.StableSince)) return { text: `none for ${since(server.StableSince, now)}` };
  return { text: "unknown" };
}

function indexOf(server, leader, limits) {
  if (milliseconds(server.LastContact) < 0) return { text: "unknown" };
  if (server.Leader || !leader) return { text: String(server.LastIndex) };
  const behind = Math.max(0, leader.LastIndex - server.LastIndex);
  const small = `${behind} behind, limit ${limits.MaxTrailingLogs}`;
  return { text: String(server.LastIndex), small };
}

/** The cells of one server of the configuration, each with text, small print and kind. */
function serverRow(server, leader, limits, now) {
  const lasts = isKnown(server.StableSince) ? ` for ${since(server.StableSince, now)}` : "";
  const role = server.Leader ? "leader" : server.Voter ? "voter" : "non-voter";
  const [well, ill] = leader ? ["healthy", "unhealthy"] : ["answers", "silent"];
  const health = (leader ? server.Healthy : answers(server))
    ? { text: `✓ ${well}${lasts}`, kind: "good" }
    : { text: `✗ ${ill}${lasts}`, small: reason(server, leader, limits), kind: "bad" };
  return {
    Server: { text: nameOf(server), small: server.Address, title: server.ID },
    Role: { text: role, small: server.NoVote ? `no vote: ${server.NoVote}` : "" },
    Health: { ...health, title: isKnown(server.StableSince) ? server.StableSince : "" },
    "Last contact": { ...contactOf(server, leader, limits, now), title: server.LastContact },
    Index: indexOf(server, leader, limits),
  };
}

/** A server that was removed and is not back. */
function removedRow(server, now) {
  const silent = server.SilentSince ? `silent since ${clock(server.SilentSince, now)}` : "";
  const when = `${clock(server.Removed, now)}, ${since(server.Removed, now)} ago`;
  return {
    Server: { text: nameOf(server), small: server.Address, title: server.ID },
    Role: { text: server.Voter ? "was a voter" : "was a non-voter" },
    Health: {
      text: `${server.Missed ? "✗ " : ""}${REMOVED_BY[server.By] ?? "removed"}`,
      small: when,
      kind: server.Missed ? "warn" : "",
      title: server.Removed,
    },
    "Last contact": { text: silent || "–", title: server.SilentSince ?? "" },
    Index: { text: "–" },
  };
}

/** A member that is neither configured nor removed: it waits to be let in, or went long ago. */
function memberRow(member) {
  const outside = member.Status === "alive" ? "not in the configuration" : "";
  return {
    Server: { text: member.Name, small: `${member.Addr}:${member.Port}`, title: member.Tags?.id },
    Role: { text: "no server of this cluster" },
    Health: { text: member.Status, small: outside, kind: member.Status === "failed" ? "bad" : "" },
    "Last contact": { text: "–" },
    Index: { text: "–" },
  };
}

/** All rows, those in trouble first. `members` are those of this region. */
export function rows(health, limits, members, now) {
  const servers = health.Servers ?? [];
  const removed = health.Removed ?? [];
  const leader = servers.find((each) => each.Leader);
  const listed = new Set([...servers, ...removed].map((each) => each.ID));
  const worstFirst = [...servers].sort((a, b) => a.Healthy - b.Healthy);
  return [
    ...worstFirst.filter((each) => !each.Healthy).map((e) => serverRow(e, leader, limits, now)),
    ...removed.filter((each) => each.Missed).map((each) => removedRow(each, now)),
    ...worstFirst.filter((each) => each.Healthy).map((e) => serverRow(e, leader, limits, now)),
    ...removed.filter((each) => !each.Missed).reverse().map((each) => removedRow(each, now)),
    ...members.filter((each) => !listed.has(each.Tags?.id)).map(memberRow),
  ];
}

/** What the cluster can bear: the leader's name, and the number that may fail with its color. */
export function facts(health) {
  const voters = (health.Servers ?? []).filter((each) => each.Voter);
  const leader = (health.Servers ?? []).find((each) => each.Leader);
  const versions = [...new Set((health.Servers ?? []).map((e) => e.Version).filter(Boolean))];
  const tolerance = health.FailureTolerance;
  return {
    leader: leader ? nameOf(leader) : "none",
    leaderAddress: leader?.Address ?? "",
    tolerance: `${tolerance} of ${plural(voters.length, "voter")}`,
    toleranceKind: !leader ? "bad" : tolerance > 0 ? "good" : "warn",
    version: versions.join(", ") || "–",
  };
}

/** The state of a cluster that a server leads: its kind, a word for the title, and sentences. */
export function ledState(health, now) {
  const servers = health.Servers ?? [];
  const voters = servers.filter((each) => each.Voter);
  const missed = (health.Removed ?? []).filter((each) => each.Missed);
  const sick = servers.filter((each) => !each.Healthy);
  if (servers.length === 0) {
    const sentence = "The leader has not judged the servers yet.";
    return { kind: "warn", word: "? new leader", sentence, advice: "It does in a few seconds." };
  }
  if (sick.length > 0) {
    const names = sick.map(nameOf).join(", ");
    const sentence = `✗ ${sick.length} of ${plural(servers.length, "server")} unhealthy: ${names}.`;
    const advice = [tolerated(health.FailureTolerance, voters.length), ...missed.map(gone(now))];
    return { kind: "bad", word: "✗ unhealthy", sentence, advice: advice.join(" ") };
  }
  if (missed.length > 0) {
    const before = Math.max(...missed.map((each) => each.VotersBefore));
    const bears = bearing(health.FailureTolerance);
    const sentence = `! Degraded: ${voters.length} of ${before} voters, ${bears}.`;
    const which = missed.length === 1 ? "Start it, or a replacement." : "Start them, or others.";
    const advice = [...missed.map(gone(now)), which].join(" ");
    return { kind: "warn", word: "! degraded", sentence, advice };
  }
  const advice = tolerated(health.FailureTolerance, voters.length);
  return { kind: "good", word: "✓ healthy", sentence: "✓ The cluster is healthy.", advice };
}

const bearing = (tolerance) => (tolerance > 0 ? `${tolerance} may fail` : "none may fail");

const gone = (now) => (server) => {
  const removed = `was removed ${clock(server.Removed, now)}`;
  if (!server.SilentSince) return `${nameOf(server)} ${removed}.`;
  return `${nameOf(server)} stopped answering ${clock(server.SilentSince, now)} and ${removed}.`;
};

function tolerated(count, voters) {
  if (voters === 1) return "It has one voter, and stops with it: keep snapshots elsewhere.";
  if (count === 0) return "No voter may fail: the next failure stops all writes.";
  return `${count} of ${voters} voters may fail before writes stop.`;
}

/** The state without a leader, by what the server that is asked knows; `health` may be null. */
export function leaderlessState(health, now) {
  const state = { kind: "bad", word: "✗ no leader" };
  const known = "Writes wait and fail; reads with ?stale go on.";
  if (!health) {
    const advice = `${known} A token with operator:read shows who votes and who is missing.`;
    return { ...state, sentence: "✗ No leader.", advice };
  }
  const voters = (health.Servers ?? []).filter((each) => each.Voter);
  if (voters.length === 0) {
    const sentence = "✗ No leader, and this server knows of no voters.";
    const advice = "It waits for the others of its bootstrap_expect, or to be let in.";
    return { ...state, sentence, advice };
  }
  const silent = voters.filter((each) => !answers(each));
  const answering = voters.length - silent.length;
  const needed = Math.floor(voters.length / 2) + 1;
  const count = `${answering} of ${plural(voters.length, "voter")} ${verb(answering)}`;
  if (answering >= needed) {
    const sentence = `✗ No leader. ${count}, enough to elect one.`;
    const advice = `It should be elected within seconds. ${known}`;
    return { ...state, sentence, advice };
  }
  const names = silent.map((each) => named(each, now));
  const lacking = needed - answering;
  const start = lacking === silent.length ? names.join(" and ") : names.join(" or ");
  const how = lacking > 1 && lacking < silent.length ? `${lacking} of ` : "";
  const sentence = `✗ No leader. ${count}, ${needed} are needed: start ${how}${start}.`;
  return { ...state, sentence, advice: known };
}

const verb = (count) => (count === 1 ? "answers" : "answer");

function named(server, now) {
  if (!isKnown(server.StableSince)) return nameOf(server);
  return `${nameOf(server)} (failed since ${clock(server.StableSince, now)})`;
}

/** What to type without a leader; the address is that of the server that was asked. */
export function leaderlessCommands(origin) {
  return [
    `bellcow operator raft list-peers -stale -address=${origin}`,
    `bellcow server members -address=${origin}`,
    "bellcow operator raft recover -h",
  ];
}

/** Who reads, by the answer of /v1/acl/token/self; null where ACLs are off. */
export function reader(answer, hasToken) {
  if (answer.status === 400 && answer.text.includes("ACL support disabled")) return null;
  if (!hasToken) return "ACLs are on: enter a token";
  if (!answer.value) return "this token is not known";
  const rights = answer.value.Type === "management" ? "management" : policies(answer.value);
  return `${answer.value.Name || answer.value.AccessorID} (${rights})`;
}

function policies(token) {
  const names = token.Policies ?? [];
  return names.length ? `policies: ${names.join(", ")}` : "no policies";
}

/** What a refusal to show health means. */
export function refusalState(answer, hasToken) {
  const state = { kind: "warn", word: "? no token" };
  if (!hasToken) {
    const sentence = "Health is not shown without a token.";
    return { ...state, sentence, advice: "Enter one with operator:read above." };
  }
  state.word = "? token refused";
  if (answer.text === "Permission denied") {
    const sentence = "This token may not read health.";
    return { ...state, sentence, advice: "It needs operator:read." };
  }
  if (answer.status === 429) {
    const sentence = "Too many unknown tokens from here.";
    return { ...state, sentence, advice: "Wait ten seconds before the next try." };
  }
  const sentence = "The cluster does not know this token.";
  return { ...state, sentence, advice: "Is it the secret, not the accessor?" };
}

/** Several live servers of one name. "" where there are none. */
export function sharedNames(members) {
  const counts = new Map();
  for (const { Name, Status } of members) {
    if (Status === "alive") counts.set(Name, (counts.get(Name) ?? 0) + 1);
  }
  return [...counts].filter(([, count]) => count > 1).map(([name]) => name).join(", ");
}
