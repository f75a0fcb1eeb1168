import { expect, test } from 'vitest';

import {
  checkAnswers,
  checkBounds,
  checkCertificates,
  checkClock,
  checkDeaths,
  checkDescriptors,
  checkGuard,
  checkMemory,
  checkReadiness,
  checkSessions,
  checkAudit,
  checkStore,
  checkSwitches,
  checkThreads,
  checkVersions,
} from '../../src/cli/doctor-checks.ts';
import { MetricReadings } from '../../src/cli/metric-readings.ts';
import type { Observation } from '../../src/cli/observation.ts';
import type { SessionSummary, Stats } from '../../src/protocol/http-results.ts';
import type { Switch } from '../../src/protocol/switches.ts';

function observation(stats: Partial<Stats> = {}, metrics = ''): Observation {
  return {
    atMs: 0,
    metrics: new MetricReadings(metrics),
    stats: {
      version: '1',
      sessions: 0,
      leases: 0,
      registrations: 0,
      persistentInstances: 0,
      declaredServices: 0,
      store: { available: true },
      audit: { state: 'on', seq: 3, hash: '' },
      held: 0,
      warming: false,
      warmUpTookMs: 0,
      subscriptionsWarming: 0,
      hosts: [],
      counters: {},
      epoch: 1,
      slotShutMaxMs: 0,
      requestsWaiting: 0,
      partitions: [{ partition: 0, state: 'ready', slots: 16_384, requestsInFlight: 0 }],
      move: { kind: 'none', isRunning: false, partitions: 1, slotsToMove: 0, slotsMoved: 0, stepsRolledBack: 0 },
      ...stats,
    },
  };
}

const guard = {
  isHolding: false,
  missingSessions: 0,
  sessions: 0,
  heldSessions: 0,
  heldInstances: 0,
  services: [],
  thresholds: {
    lossWindowMs: 1,
    lossSessionsMin: 1,
    lossSessionsPercent: 1,
    lossServiceInstancesMin: 1,
    lossServicePercent: 1,
    lossHoldMaxMs: 1,
  },
};

test('a healthy registry has nothing to warn of', () => {
  const healthy = observation({}, 'process_open_fds 1\nprocess_max_fds 10\nprocess_resident_memory_bytes 1\n');
  const date = new Date(5000).toUTCString();
  const findings = [
    checkAnswers([1, 2, 3]),
    checkVersions('1', healthy),
    checkClock(date, { sentMs: 5100, receivedMs: 5200 }, 1000),
    checkReadiness(healthy),
    checkDeaths(healthy),
    checkThreads(healthy, healthy),
    checkStore(healthy),
    checkAudit(healthy),
    checkDescriptors(healthy),
    checkMemory(healthy, 10),
    checkBounds(healthy, healthy),
    checkGuard(guard),
    checkSwitches([], 0),
    ...checkSessions([], []),
  ];
  expect(findings.filter(({ status }) => status !== 'ok')).toEqual([]);
  expect(findings.filter(({ advice }) => advice !== undefined)).toEqual([]);
});

const slow = 'slotcast_event_loop_delay_seconds';
const sessions = (state: SessionSummary['state'], isBehind: boolean): SessionSummary => ({
  session: 's1',
  thread: 0,
  state,
  address: '10.0.0.1',
  ageMs: 1,
  registrations: 1,
  subscriptions: 0,
  requestsInFlight: 0,
  unreadBytes: 0,
  isBehind,
});

test.each([
  ['slow answers', checkAnswers([200, 300, 1]), 'warning', 'a request takes 200.0 ms'],
  ['another version', checkVersions('2', observation()), 'warning', 'registry 1, command 2'],
  [
    'a registry that is not ready',
    checkReadiness(observation({ partitions: [{ partition: 3, state: 'rebuilding', slots: 1, requestsInFlight: 0 }] })),
    'failure',
    'partition 3 is rebuilding',
  ],
  ['a warm-up', checkReadiness(observation({ warming: true, warmUpTookMs: 1500 })), 'warning', 'warming for 1.50 s'],
  [
    'a partition that died',
    checkDeaths(observation({}, 'slotcast_partition_deaths_total{partition="2"} 4\n')),
    'warning',
    'partition 2 4×',
  ],
  [
    'a store thread that died',
    checkDeaths(observation({ counters: { store_thread_died: 1 } })),
    'warning',
    'store thread 1×',
  ],
  [
    'a thread that is silent',
    checkThreads(observation(), observation({}, 'slotcast_hosts_silent 1\n')),
    'failure',
    '1 I/O threads do not answer',
  ],
  [
    'a thread that is late',
    checkThreads(
      observation(),
      observation(
        {},
        `${slow}_bucket{thread="main",le="0.5"} 1\n${slow}_bucket{thread="main",le="+Inf"} 1\n${slow}_count{thread="main"} 1\n`,
      ),
    ),
    'warning',
    'late by: main 450.0 ms',
  ],
  [
    'a full disk',
    checkStore(observation({ store: { available: false, fault: 'full' } })),
    'failure',
    'nothing can be stored (full)',
  ],
  [
    'an audit log that cannot be written',
    checkAudit(
      observation({ audit: { state: 'failing', seq: 3, hash: '' }, counters: { refused_storage_unavailable: 2 } }),
    ),
    'failure',
    'cannot be written; requests were refused',
  ],
  [
    'a cold journal',
    checkStore(observation({}, 'slotcast_journals_cold 2\n')),
    'warning',
    '2 partitions have no journal',
  ],
  [
    'a commit that failed',
    checkStore(observation({}, 'slotcast_store_failed_commits_total 3\n')),
    'warning',
    '3 commits could not be stored',
  ],
  ['a damaged store', checkStore(observation({}, 'slotcast_store_damages_total 1\n')), 'warning', 'was damaged'],
  [
    'few descriptors',
    checkDescriptors(observation({}, 'process_open_fds 9\nprocess_max_fds 10\n')),
    'warning',
    '9 of 10',
  ],
  ['much memory', checkMemory(observation({}, 'process_resident_memory_bytes 9\n'), 10), 'warning', '9 B of 10 B'],
  [
    'a bound that is met now',
    checkBounds(observation({ counters: { limit_leasesMax: 1 } }), observation({ counters: { limit_leasesMax: 2 } })),
    'warning',
    'met just now: leasesMax',
  ],
  [
    'a client that does not read',
    checkBounds(observation(), observation({ counters: { closed_slow_consumer: 1 } })),
    'warning',
    'closed_slow_consumer',
  ],
  [
    'a guard',
    checkGuard({ ...guard, isHolding: true, missingSessions: 4, sessions: 9, heldInstances: 7 }),
    'warning',
    '7 instances are held back from removal; 4 of 9 sessions are missing',
  ],
  [
    'a guard of a service',
    checkGuard({ ...guard, services: [{ key: 'public/DEFAULT/a', holdingForMs: 1, missing: 1, total: 1 }] }),
    'warning',
    'services: public/DEFAULT/a',
  ],
  ['a session that does not read', checkSessions([sessions('connected', true)], [])[0]!, 'warning', 's1@10.0.0.1'],
  ['a session without a connection', checkSessions([sessions('held', false)], [])[0]!, 'warning', 's1@10.0.0.1 held'],
  ['a thread whose sessions are unknown', checkSessions([], [2])[0]!, 'failure', 'threads 2'],
])('%s is found, with what to do', (_, finding, status, found) => {
  expect(finding.status).toBe(status);
  expect(finding.found).toContain(found);
  expect(finding.advice).toMatch(/\w/);
});

test('a bound that was met once is told, and no warning', () => {
  const met = observation({ counters: { limit_leasesMax: 3 } });
  expect(checkBounds(met, met)).toMatchObject({ status: 'ok', found: expect.stringContaining('leasesMax 3×') });
});

test.each([
  [10_000, undefined, 'ok'],
  [8000, undefined, 'ok'],
  [4000, undefined, 'behind'],
  [14_000, undefined, 'ahead of'],
  [10_000, 20_000, 'started in the future'],
])('a registry whose clock says %d at 10000, and which started at %s', (serverMs, startedMs, expected) => {
  const finding = checkClock(new Date(serverMs).toUTCString(), { sentMs: 10_000, receivedMs: 10_010 }, startedMs);
  if (expected === 'ok') expect(finding.status).toBe('ok');
  else expect(finding).toMatchObject({ status: 'warning', found: expect.stringContaining(expected) });
});

const order: Switch = {
  kind: 'service-off',
  namespace: 'public',
  group: 'DEFAULT',
  service: 'orders',
  by: 'ann',
  orderedFrom: '127.0.0.1',
  since: new Date(0).toISOString(),
};

test('switches: the oldest without an end is named, with how to undo it, and whether it may have been forgotten', () => {
  const timed: Switch = { ...order, kind: 'read-only', until: new Date(9e6).toISOString() };
  expect(checkSwitches([timed, order], 60_000)).toMatchObject({
    status: 'warning',
    found: 'service-off of public/DEFAULT/orders by ann for 1m; 1 more',
    advice: 'list them: `slotcast switches`; undo it: `slotcast on orders`',
  });
  expect(checkSwitches([order], 7_200_000).found).toContain('for 2h, and may have been forgotten');
});

test.each<[Partial<Switch>, string]>([
  [{ namespace: 'shop', group: 'G' }, 'on orders --namespace shop --group G'],
  [{ kind: 'instance-override', id: 'h:1' }, 'override --lift orders h:1'],
  [{ kind: 'push-freeze' }, 'thaw orders'],
  [{ kind: 'guard-hold' }, 'guard hold --lift orders'],
])('of a switch with %j the twin is named', (more, twin) => {
  expect(checkSwitches([{ ...order, ...more }], 0).advice).toBe(
    `list them: \`slotcast switches\`; undo it: \`slotcast ${twin}\``,
  );
});

test.each<[Partial<Switch>, string]>([
  [{ kind: 'client-off', app: 'batch' }, 'on --app batch'],
  [{ kind: 'host-drain', host: '10.0.0.1' }, 'drain --lift --host 10.0.0.1'],
  [{ kind: 'namespace-limit', namespace: 'shop' }, 'limit --lift shop'],
  [{ kind: 'push-freeze', namespace: 'shop' }, 'thaw --namespace shop'],
  [{ kind: 'read-only' }, 'read-only --lift'],
])('of a switch %j that is about no service the twin is named', (what, twin) => {
  const { since } = order;
  expect(checkSwitches([{ ...what, since } as Switch], 0).advice).toContain(`undo it: \`slotcast ${twin}\``);
});

test('without an audit log there is nothing to look at', () => {
  expect(checkAudit(observation({ audit: { state: 'off', seq: 0, hash: '' } }))).toMatchObject({ status: 'skipped' });
});

test.each<[inDays: number, status: string, found: string]>([
  [15, 'ok', 'tlsCert is good until 1970-01-16'],
  [13, 'warning', 'tlsCert is good until 1970-01-14'],
  [-1, 'failure', 'tlsCert expired 1969-12-31'],
])('a certificate that expires in %i days is %s', (inDays, status, found) => {
  const metrics = `slotcast_tls_certificate_expiry_seconds{setting="tlsCert"} ${inDays * 86_400}\n`;
  const [finding, ...others] = checkCertificates(observation({}, metrics));
  expect(finding).toMatchObject({ check: 'certificate', status });
  expect(finding?.found).toContain(found);
  expect(finding?.advice !== undefined).toBe(status !== 'ok');
  expect(others).toEqual([]);
});

test('files of TLS that are of no use are a failure; without TLS nothing is said of it', () => {
  expect(checkCertificates(observation({}, 'slotcast_tls_files_refused 1\n'))).toMatchObject([
    { check: 'tls files', status: 'failure' },
  ]);
  expect(checkCertificates(observation({}, 'slotcast_tls_files_refused 0\n'))).toEqual([]);
  expect(checkCertificates(observation())).toEqual([]);
});
