import type { GuardResult, SessionSummary } from '../protocol/http-results.ts';
import type { Switch, SwitchKind } from '../protocol/switches.ts';
import { limitsMet } from '../runtime/counters.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import { formatSome } from './findings.ts';
import type { Finding } from './findings.ts';
import type { Observation } from './observation.ts';
import { formatText } from './output.ts';
import { formatAge, formatBytes, formatMs } from './quantities.ts';

/** How much of something may be used before it is a warning. */
const fullShare = 0.8;
/** A switch that has no end and is older than this may be one that was forgotten. */
const forgottenMs = 3_600_000;
/** A header has whole seconds, and may be one old. */
const clockMsMax = 2000;
const eventLoopDelayMsMax = 100;
const requestMsMax = 100;

/** A certificate should not be as close as this to its end. */
const expiryMsMin = 14 * 86_400_000;

const restarting = 'the log has the reason (`partition N died`); docs/RUNBOOK.md has what to do';

export function checkAnswers(times: readonly number[]): Finding {
  const check = 'requests';
  const ms = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  const found = `a request takes ${formatMs(ms)}`;
  return ms <= requestMsMax
    ? { check, status: 'ok', found }
    : { check, status: 'warning', found, advice: 'see which thread is busy: `slotcast top`' };
}

export function checkVersions(own: string, { stats, metrics }: Observation): Finding {
  const check = 'versions';
  const { version } = stats;
  const startedS = metrics.sum('process_start_time_seconds');
  const since = startedS === undefined ? '' : `, started ${new Date(startedS * 1000).toISOString()}`;
  const found = `registry ${formatText(version)}, command ${own}${since}`;
  return version === own
    ? { check, status: 'ok', found }
    : {
        check,
        status: 'warning',
        found,
        advice: 'use the command of the same version: others may not know all that the registry says',
      };
}

/** `date`: of an answer that was asked for at `sentMs` and came at `receivedMs`. */
export function checkClock(
  date: string | undefined,
  { sentMs, receivedMs }: { readonly sentMs: number; readonly receivedMs: number },
  startedMs: number | undefined,
): Finding {
  const check = 'clock';
  const serverMs = Date.parse(date ?? '');
  if (Number.isNaN(serverMs)) return { check, status: 'skipped', found: 'the answer has no date' };
  const aheadMs = serverMs - receivedMs;
  const behindMs = sentMs - (serverMs + 1000);
  const advice =
    'run NTP on both machines; versions and leases do not depend on the clock, times of switches and in logs do';
  const offMs = Math.max(aheadMs, behindMs);
  if (offMs > clockMsMax) {
    const found = `the clock of the registry is ${formatAge(offMs)} ${aheadMs > behindMs ? 'ahead of' : 'behind'} this machine's`;
    return { check, status: 'warning', found, advice };
  }
  if (startedMs !== undefined && startedMs > receivedMs + clockMsMax) {
    const found = `the registry started in the future: its clock was ${formatAge(startedMs - receivedMs)} ahead then`;
    return { check, status: 'warning', found, advice };
  }
  return { check, status: 'ok', found: 'the clocks agree' };
}

export function checkReadiness({ stats }: Observation): Finding {
  const check = 'readiness';
  const unready = stats.partitions.filter(({ state }) => state !== 'ready');
  if (unready.length > 0) {
    const found = `not ready: ${unready.map(({ partition, state }) => `partition ${partition} is ${formatText(state)}`).join(', ')}`;
    return { check, status: 'failure', found, advice: restarting };
  }
  if (stats.warming) {
    const found = `warming for ${formatMs(stats.warmUpTookMs)}: clients of before the start are still coming back`;
    return { check, status: 'warning', found, advice: 'wait; warmUpMs and warmUpMaxMs bound it' };
  }
  return {
    check,
    status: 'ok',
    found: `${stats.partitions.length} of ${stats.partitions.length} partitions are ready`,
  };
}

export function checkDeaths({ stats, metrics }: Observation): Finding {
  const check = 'deaths';
  const counters = stats.counters as CounterSnapshot;
  const deaths = [
    ...[...metrics.by('slotcast_partition_deaths_total', 'partition')].map(
      ([partition, count]) => [`partition ${partition}`, count] as const,
    ),
    ['HTTP thread', counters.edge_thread_died ?? 0] as const,
    ['store thread', counters.store_thread_died ?? 0] as const,
  ].filter(([, count]) => count > 0);
  if (deaths.length === 0) return { check, status: 'ok', found: 'no thread has died' };
  const found = `died since the start, and came back: ${deaths.map(([what, count]) => `${what} ${count}×`).join(', ')}`;
  return { check, status: 'warning', found, advice: restarting };
}

/** What is slow now: since the observation before. */
export function checkThreads(before: Observation, { metrics }: Observation): Finding {
  const check = 'threads';
  const silent = metrics.sum('slotcast_hosts_silent') ?? 0;
  if (silent > 0) {
    return {
      check,
      status: 'failure',
      found: `${silent} I/O threads do not answer`,
      advice: 'look with `top -H`; its clients wait, and a restart ends it',
    };
  }
  const name = 'slotcast_event_loop_delay_seconds';
  const threads = [...metrics.by(`${name}_count`, 'thread').keys()];
  const delays = threads.map(
    (thread) => [thread, (metrics.quantile(name, 0.9, before.metrics, { thread }) ?? 0) * 1000] as const,
  );
  const late = delays.filter(([, ms]) => ms > eventLoopDelayMsMax);
  if (late.length === 0) return { check, status: 'ok', found: `${threads.length} threads turn in time` };
  const found = `late by: ${late.map(([thread, ms]) => `${formatText(thread)} ${formatMs(ms)}`).join(', ')}`;
  return {
    check,
    status: 'warning',
    found,
    advice: 'see `slotcast top`: a busy thread needs another partition or I/O threads, an idle one more cores',
  };
}

export function checkAudit({ stats: { audit, counters }, metrics }: Observation): Finding {
  const check = 'audit';
  if (audit.state === 'off')
    return { check, status: 'skipped', found: 'nothing is noted: audit is off, or there is no dataDir' };
  if (audit.state === 'failing') {
    const refused =
      ((counters as CounterSnapshot).refused_storage_unavailable ?? 0) > 0 ? '; requests were refused' : '';
    return {
      check,
      status: 'failure',
      found: `the audit log cannot be written${refused}`,
      advice: 'the log says why; make room in `audit` in dataDir, it is tried again by itself',
    };
  }
  const leftOut = metrics.sum('slotcast_audit_left_out_total') ?? 0;
  const found = `${audit.seq} lines${leftOut === 0 ? '' : `, ${leftOut} acts left out`}`;
  return { check, status: 'ok', found };
}

/** Whether strangers can do what they want. */
export function checkExposure({ metrics }: Observation): Finding {
  const check = 'exposure';
  if ((metrics.sum('slotcast_insecure') ?? 0) === 0) {
    return { check, status: 'ok', found: 'other machines need credentials over TLS, or cannot reach it' };
  }
  return {
    check,
    status: 'warning',
    found: 'other machines can reach it without TLS or without access control (insecure)',
    advice: 'set tlsCert, tlsKey and accessControl, or see to it that only a proxy or a trusted network reaches it',
  };
}

/** Nothing without TLS. */
export function checkCertificates({ atMs, metrics }: Observation): Finding[] {
  const expiries = metrics.by('slotcast_tls_certificate_expiry_seconds', 'setting');
  const findings = [...expiries].map(([setting, expiryS]) => checkExpiry(setting, expiryS * 1000, atMs));
  if ((metrics.sum('slotcast_tls_files_refused') ?? 0) === 0) return findings;
  const found = 'the TLS files have changed and are of no use: the earlier certificate stays in use';
  const advice = 'the log says what is wrong; write certificate and key again, and they are taken by themselves';
  return [...findings, { check: 'tls files', status: 'failure', found, advice }];
}

/** `setting`: the one that names the certificate. */
export function checkExpiry(setting: string, expiryMs: number, nowMs: number): Finding {
  const check = 'certificate';
  const date = new Date(expiryMs).toISOString();
  const advice = `replace the file of ${formatText(setting)}: the registry takes a new one without a restart`;
  if (expiryMs <= nowMs) {
    return { check, status: 'failure', found: `${formatText(setting)} expired ${date}`, advice };
  }
  const found = `${formatText(setting)} is good until ${date}`;
  return expiryMs - nowMs < expiryMsMin ? { check, status: 'warning', found, advice } : { check, status: 'ok', found };
}

export function checkStore({ stats, metrics }: Observation): Finding {
  const check = 'store';
  const { available, fault } = stats.store;
  if (!available) {
    const found = `nothing can be stored (${formatText(fault ?? 'failed')}): persistent instances, switches and keys are refused`;
    const advice =
      fault === 'full'
        ? 'make room on the disk of dataDir, or raise storeBytesMax; it is tried again by itself'
        : 'the log says why; it is tried again by itself';
    return { check, status: 'failure', found, advice };
  }
  const cold = metrics.sum('slotcast_journals_cold') ?? 0;
  if (cold > 0) {
    const found = `${cold} partitions have no journal: what they hold would not survive a restart`;
    return {
      check,
      status: 'warning',
      found,
      advice: 'do not restart now; see whether the disk of dataDir is full or slow',
    };
  }
  const failed = metrics.sum('slotcast_store_failed_commits_total') ?? 0;
  if (failed > 0) {
    const found = `${failed} commits could not be stored since the start`;
    return {
      check,
      status: 'warning',
      found,
      advice: 'see whether the disk of dataDir is nearly full; the log says why',
    };
  }
  const damages = metrics.sum('slotcast_store_damages_total') ?? 0;
  if (damages > 0) {
    return {
      check,
      status: 'warning',
      found: 'the file of the store was damaged, and replaced by what could be read',
      advice: 'check the disk; the log names the file that was set aside',
    };
  }
  return {
    check,
    status: 'ok',
    found: `what must outlive the process is stored; ${formatBytes(metrics.sum('slotcast_store_used_bytes') ?? 0)} in use`,
  };
}

export function checkDescriptors({ metrics }: Observation): Finding {
  const check = 'descriptors';
  const [open, max] = [metrics.sum('process_open_fds'), metrics.sum('process_max_fds')];
  if (open === undefined || max === undefined) return { check, status: 'skipped', found: 'the registry does not tell' };
  const found = `${open} of ${max} are open`;
  return open <= max * fullShare
    ? { check, status: 'ok', found }
    : {
        check,
        status: 'warning',
        found,
        advice: 'raise LimitNOFILE or ulimit -n and restart; until then new sessions are refused',
      };
}

/** `machineBytes`: of the machine that the registry runs on, if that is this one. */
export function checkMemory({ metrics }: Observation, machineBytes: number | undefined): Finding {
  const check = 'memory';
  const resident = metrics.sum('process_resident_memory_bytes');
  if (resident === undefined) return { check, status: 'skipped', found: 'the registry does not tell' };
  const of = machineBytes === undefined ? '' : ` of ${formatBytes(machineBytes)}`;
  const found = `${formatBytes(resident)}${of} resident`;
  return machineBytes === undefined || resident <= machineBytes * fullShare
    ? { check, status: 'ok', found }
    : {
        check,
        status: 'warning',
        found,
        advice: 'see `slotcast top` for which partition; lower instanceBytesMax, or move services to another registry',
      };
}

export function checkGuard(guard: GuardResult): Finding {
  const check = 'guards';
  const { isHolding, missingSessions, sessions, heldInstances, services } = guard;
  if (!isHolding && services.length === 0) return { check, status: 'ok', found: 'nothing is held back' };
  const which = isHolding
    ? `${missingSessions} of ${sessions} sessions are missing`
    : `services: ${formatSome(services.map(({ key }) => key))}`;
  return {
    check,
    status: 'warning',
    found: `${heldInstances} instances are held back from removal; ${which}`,
    advice: 'find out whether the network or the clients are gone; if the clients are, `slotcast guard release --all`',
  };
}

/** The command that undoes a switch of a kind, before what it is about. */
const twins: Readonly<Record<SwitchKind, string>> = {
  'service-off': 'on',
  'client-off': 'on',
  'instance-override': 'override --lift',
  'instance-drain': 'drain --lift',
  'host-drain': 'drain --lift',
  'push-freeze': 'thaw',
  'guard-hold': 'guard hold --lift',
  'guard-off': 'guard off --lift',
  'namespace-limit': 'limit --lift',
  quarantine: 'quarantine --lift',
  'read-only': 'read-only --lift',
};

/** Undefined for a kind that a newer registry has. */
function nameTwin({ kind, namespace, group, service, id, host, address, app, session }: Switch): string | undefined {
  const command = twins[kind] as string | undefined;
  if (command === undefined) return undefined;
  const isLimit = kind === 'namespace-limit';
  const flags = {
    namespace: isLimit || (service !== undefined && namespace === 'public') ? undefined : namespace,
    group: service === undefined || group === 'DEFAULT' ? undefined : group,
    host,
    address,
    app,
    session,
  };
  return [
    command,
    ...[isLimit ? namespace : service, id].flatMap((word) => (word === undefined ? [] : [formatText(word)])),
    ...Object.entries(flags).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name} ${formatText(value)}`],
    ),
  ].join(' ');
}

export function checkSwitches(switches: readonly Switch[], nowMs: number): Finding {
  const check = 'switches';
  if (switches.length === 0) return { check, status: 'ok', found: 'none is in force' };
  const order = switches.find(({ until }) => until === undefined) ?? switches[0]!;
  const target =
    order.service === undefined ? '' : ` of ${formatText(`${order.namespace}/${order.group}/${order.service}`)}`;
  const age = nowMs - Date.parse(order.since);
  const forgotten = order.until === undefined && age > forgottenMs ? ', and may have been forgotten' : '';
  const since = order.until === undefined ? `for ${formatAge(Math.max(0, age))}${forgotten}` : `until ${order.until}`;
  const by = order.by === undefined ? '' : ` by ${formatText(order.by)}`;
  const others = switches.length === 1 ? '' : `; ${switches.length - 1} more`;
  const twin = nameTwin(order);
  return {
    check,
    status: 'warning',
    found: `${formatText(order.kind)}${target}${by} ${since}${others}`,
    advice: `list them: \`slotcast switches\`${twin === undefined ? '' : `; undo it: \`slotcast ${twin}\``}`,
  };
}

export function checkSessions(sessions: readonly SessionSummary[], silentThreads: readonly number[]): Finding[] {
  const check = 'sessions';
  if (silentThreads.length > 0) {
    return [
      {
        check,
        status: 'failure',
        found: `threads ${silentThreads.join(', ')} do not answer`,
        advice: 'look with `top -H`',
      },
    ];
  }
  const findings: Finding[] = [];
  const behind = sessions.filter(({ isBehind }) => isBehind);
  if (behind.length > 0) {
    findings.push({
      check,
      status: 'warning',
      found: `${behind.length} do not read what they are sent: ${formatSome(behind.map(nameSession))}`,
      advice: '`slotcast sessions --behind`; they get the latest state when they read, and are closed if they do not',
    });
  }
  const stale = sessions.filter(({ state }) => state === 'broken' || state === 'held' || state === 'unconfirmed');
  if (stale.length > 0) {
    findings.push({
      check,
      status: 'warning',
      found: `${stale.length} have no connection: ${formatSome(stale.map((each) => `${nameSession(each)} ${each.state}`))}`,
      advice:
        'broken ones go after disconnectGraceMs, unconfirmed ones after the warm-up, held ones when their guard ends',
    });
  }
  return findings.length > 0
    ? findings
    : [{ check, status: 'ok', found: `${sessions.length}, all with a connection, and reading` }];
}

function nameSession({ session, app, address }: SessionSummary): string {
  return `${app ?? session}@${address}`;
}

/** Which bounds are met now: since the observation before. */
export function checkBounds(before: Observation, { stats }: Observation): Finding {
  const check = 'bounds';
  const earlier = new Map(Object.entries(before.stats.counters));
  const refusals = Object.entries(stats.counters).filter(
    ([name]) => name.startsWith('upgrade_refused_') || name === 'closed_slow_consumer',
  );
  const all = [
    ...limitsMet(stats.counters as CounterSnapshot).map(([limit, count]) => [limit, count, `limit_${limit}`] as const),
    ...refusals.map(([name, count]) => [name, count, name] as const),
  ];
  const now = all.filter(([, count, name]) => count > (earlier.get(name) ?? 0));
  if (now.length > 0) {
    return {
      check,
      status: 'warning',
      found: `met just now: ${formatSome(now.map(([name]) => name))}`,
      advice: 'the log names who met them; see "When a bound is met" in docs/OPERATIONS.md',
    };
  }
  const once = all.map(([name, count]) => `${formatText(name)} ${count}×`);
  return {
    check,
    status: 'ok',
    found: once.length === 0 ? 'none was met' : `none is met now; since the start: ${once.slice(0, 5).join(', ')}`,
  };
}
