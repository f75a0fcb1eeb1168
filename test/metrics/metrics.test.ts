import { expect, test } from 'vitest';

import type { LocalHost } from '../../src/control/local-host.ts';
import { PartitionLives } from '../../src/control/partition-lives.ts';
import type { HostState } from '../../src/control/session-host.ts';
import { StateReader } from '../../src/control/state-reader.ts';
import { StoreGauges } from '../../src/durable/store-gauges.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

test('a host that does not answer is asked once, its last figures are told, and that it is silent', async () => {
  const registry = await InProcessRegistry.start({}, 2);
  const [first, second] = registry.hosts;
  const connect = (unit: LocalHost): SimulatedClient => new SimulatedClient(registry, undefined, unit.core);
  let asked = 0;
  let isSilent = false;
  let answer: (() => void) | undefined;
  const metrics = new Metrics({
    states: new StateReader([
      first!,
      {
        readState: async (): Promise<HostState> => {
          asked += 1;
          if (isSilent) await new Promise<void>((resolve) => (answer = resolve));
          return second!.readState();
        },
      },
    ]),
    source: {
      readPartitions: () => [],
      audit: undefined,
      threads: new Map(),
      lives: new PartitionLives(),
      gate: first!.router.gate,
      guard: registry.guard,
      tls: undefined,
      isInsecure: false,
      switches: {
        counts: {
          'service-off': 0,
          'instance-override': 0,
          'instance-drain': 0,
          'host-drain': 0,
          'client-off': 0,
          'push-freeze': 0,
          'guard-hold': 0,
          'guard-off': 0,
          'namespace-limit': 0,
          quarantine: 0,
          'read-only': 0,
        },
      },
      checks: {
        counts: { passing: 0, warning: 0, critical: 0 },
        figures: { probes: 0, failures: 0, underWay: 0, waiting: 0, isHolding: false, heldCount: 0 },
      },
      persistent: { counts: { instances: 3, services: 2 } },
      migrator: registry.migrator,
      store: { gauges: new StoreGauges(), readState: () => ({ kind: 'available' as const }) },
      warmStart: { phase: 'over', claims: 0, coldCount: 0 },
      warmUp: { isOver: () => false, readTookMs: () => 2500 },
    },
  });
  const read = async (name: string): Promise<string | undefined> =>
    new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (.*)$`, 'm').exec((await metrics.read()).text)?.[1];

  connect(first!);
  connect(second!);
  expect(await read('slotcast_sessions{state="connected"}')).toBe('2');
  expect(await read('slotcast_hosts_silent')).toBe('0');

  isSilent = true;
  connect(first!);
  connect(second!);
  asked = 0;
  expect(await read('slotcast_hosts_silent')).toBe('1');
  expect(await read('slotcast_sessions{state="connected"}')).toBe('3');
  expect(asked).toBe(1);

  isSilent = false;
  answer?.();
  await new Promise((resolve) => setImmediate(resolve));
  expect(await read('slotcast_hosts_silent')).toBe('0');
  expect(await read('slotcast_sessions{state="connected"}')).toBe('4');
});
