import { expect, test } from 'vitest';

import type { UnitState } from '../../src/control/host-unit.ts';
import { PartitionLives } from '../../src/control/partition-lives.ts';
import type { SessionUnit } from '../../src/control/session-unit.ts';
import { StateReader } from '../../src/control/state-reader.ts';
import { Metrics } from '../../src/metrics/metrics.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

test('a host that does not answer is asked once, its last figures are told, and that it is silent', async () => {
  const registry = await InProcessRegistry.start({}, 2);
  const [first, second] = registry.units;
  const connect = (unit: SessionUnit): SimulatedClient => new SimulatedClient(registry, undefined, unit.host);
  let asked = 0;
  let isSilent = false;
  let answer: (() => void) | undefined;
  const metrics = new Metrics({
    states: new StateReader([
      first!,
      {
        readState: async (): Promise<UnitState> => {
          asked += 1;
          if (isSilent) await new Promise<void>((resolve) => (answer = resolve));
          return second!.readState();
        },
      },
    ]),
    source: {
      readPartitions: () => [],
      threads: new Map(),
      lives: new PartitionLives(),
      gate: first!.router.gate,
      guard: registry.guard,
      mover: registry.mover,
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
