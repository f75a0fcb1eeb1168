import { expect, test } from 'vitest';

import { CheckCore } from '../../src/health/check-core.ts';
import type { CheckCoreOptions, Probe, Standing } from '../../src/health/check-core.ts';
import type { CheckDefinition, Health } from '../../src/protocol/types.ts';

/** A core whose clock and network are played by hand. */
class Scene {
  readonly core: CheckCore;
  nowMs = 0;
  /** What probes find, by check; without an entry nothing comes. */
  readonly findings: Map<string, Health> = new Map();
  readonly standings: Standing[] = [];
  readonly hanging: Probe[] = [];
  probes = 0;
  underWayMax = 0;

  constructor(options: Partial<CheckCoreOptions> = {}) {
    this.core = new CheckCore({
      probesMax: 100,
      lossChecksMin: 10,
      lossPercent: 50,
      holdMaxMs: 60_000,
      random: () => 0.5,
      nowMs: 0,
      ...options,
    });
  }

  put(name: string, check: CheckDefinition = { kind: 'tcp' }, finding: Health | 'none' = 'passing'): void {
    this.core.put(name, { key: 'public/DEFAULT/s', id: name, host: '10.0.0.1', port: 1, check }, this.nowMs);
    if (finding !== 'none') this.findings.set(name, finding);
  }

  advance(ms: number): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += 50;
      let begun = this.core.advance(this.nowMs);
      this.underWayMax = Math.max(this.underWayMax, this.core.underWay);
      while (begun.length > 0) {
        const next: Probe[] = [];
        for (const probe of begun) {
          this.probes += 1;
          const health = this.findings.get(probe.name);
          if (health === undefined) this.hanging.push(probe);
          else next.push(...this.core.settle(probe, { health, output: health }, this.nowMs));
        }
        begun = next;
      }
      this.standings.push(...this.core.takeStandings());
    }
  }

  told(name: string): Health[] {
    return this.standings.filter((standing) => standing.name === name).map(({ health }) => health);
  }
}

const check: CheckDefinition = { kind: 'tcp', intervalMs: 1000, jitterPercent: 0 };

test('[HC3] a check changes its mind after so many results in a row, and not because of one that differs', () => {
  const scene = new Scene();
  scene.put('a', { ...check, failures: 3, successes: 2 });
  scene.advance(3000);
  expect(scene.told('a')).toEqual([]);
  scene.findings.set('a', 'critical');
  scene.advance(2000);
  scene.findings.set('a', 'passing');
  scene.advance(1000);
  scene.findings.set('a', 'critical');
  scene.advance(2000);
  expect(scene.told('a')).toEqual([]);
  scene.advance(1000);
  expect(scene.told('a')).toEqual(['critical']);
  scene.findings.set('a', 'passing');
  scene.advance(1000);
  expect(scene.told('a')).toEqual(['critical']);
  scene.advance(1000);
  expect(scene.told('a')).toEqual(['critical', 'passing']);
});

test('[HC3] what it counts as at first is told, and holds until a result', () => {
  const scene = new Scene();
  scene.put('a', { ...check, initial: 'critical' });
  scene.advance(100);
  expect(scene.told('a')).toEqual(['critical']);
  scene.advance(1000);
  expect(scene.told('a')).toEqual(['critical', 'passing']);
});

test('[HC3] probes are spread over the interval, and drift apart by the jitter', () => {
  let seed = 0;
  const scene = new Scene({ random: () => (seed = (seed + 0.618_034) % 1) });
  for (let i = 0; i < 200; i++) scene.put(`c${i}`, { ...check, jitterPercent: 20 });
  const perStep: number[] = [];
  for (let step = 0; step < 60; step++) {
    const before = scene.probes;
    scene.advance(50);
    perStep.push(scene.probes - before);
  }
  expect(scene.probes).toBeGreaterThan(400);
  expect(scene.probes).toBeLessThan(800);
  expect(Math.max(...perStep)).toBeLessThan(40);
});

test('[HC4] no more probes are under way than there may be; the others wait, and those of checks that have gone are not made', () => {
  const scene = new Scene({ probesMax: 5 });
  for (let i = 0; i < 20; i++) scene.put(`c${i}`, check, 'none');
  scene.advance(2000);
  expect(scene.underWayMax).toBe(5);
  expect(scene.hanging).toHaveLength(5);
  expect(scene.core.waiting).toBe(15);
  for (let i = 0; i < 20; i++) if (!scene.hanging.some(({ name }) => name === `c${i}`)) scene.core.drop(`c${i}`);
  const next = scene.core.settle(scene.hanging[0]!, { health: 'passing', output: '' }, scene.nowMs);
  expect(next).toEqual([]);
  expect(scene.core.underWay).toBe(4);
});

test('[HC3] the result of a check that has been replaced does not count', () => {
  const scene = new Scene();
  scene.put('a', { ...check, failures: 1 }, 'none');
  scene.advance(1000);
  scene.put('a', { ...check, failures: 1 }, 'none');
  scene.core.settle(scene.hanging[0]!, { health: 'critical', output: '' }, scene.nowMs);
  expect(scene.core.takeStandings()).toEqual([]);
});

test('[HC3] a check that waits for reports is critical when none has come within its interval', () => {
  const scene = new Scene();
  scene.put('a', { kind: 'ttl', intervalMs: 1000 });
  for (let i = 0; i < 5; i++) {
    scene.advance(800);
    scene.core.hear('a', scene.nowMs);
  }
  expect(scene.told('a')).toEqual([]);
  scene.advance(1100);
  expect(scene.told('a')).toEqual(['critical']);
  scene.core.hear('a', scene.nowMs);
  scene.advance(50);
  expect(scene.told('a')).toEqual(['critical', 'passing']);
});

test('[HC5] an instance that has been critical for as long as its check says is named, once', () => {
  const scene = new Scene();
  scene.put('a', { ...check, failures: 1, deregisterAfterMs: 5000 }, 'critical');
  scene.put('b', { ...check, failures: 1 }, 'critical');
  scene.advance(3000);
  expect(scene.core.takeOverdue(scene.nowMs)).toEqual([]);
  scene.advance(3000);
  expect(scene.core.takeOverdue(scene.nowMs)).toEqual([{ name: 'a', number: 0 }]);
  expect(scene.core.takeOverdue(scene.nowMs)).toEqual([]);
  scene.findings.set('a', 'passing');
  scene.advance(10_000);
  expect(scene.core.takeOverdue(scene.nowMs)).toEqual([]);
});

test('[HC6] when most checks fail at once nothing becomes critical, until most are well again', () => {
  const scene = new Scene();
  for (let i = 0; i < 40; i++) scene.put(`c${i}`, check);
  scene.put('ill', { ...check, failures: 1, deregisterAfterMs: 1000 }, 'critical');
  scene.advance(3000);
  expect(scene.told('ill')).toEqual(['critical']);
  for (let i = 0; i < 40; i++) scene.findings.set(`c${i}`, 'critical');
  scene.advance(10_000);
  expect(scene.core.isHolding).toBe(true);
  expect(scene.core.heldCount).toBe(40);
  expect(scene.standings).toHaveLength(1);
  expect(scene.core.takeOverdue(scene.nowMs)).toEqual([]);
  for (let i = 1; i < 40; i++) scene.findings.set(`c${i}`, 'passing');
  scene.advance(3000);
  expect(scene.core.isHolding).toBe(false);
  expect(scene.told('c0')).toEqual(['critical']);
  expect(scene.standings).toHaveLength(2);
});

test('[HC6] a few that fail are told, however many they are of few', () => {
  const scene = new Scene();
  for (let i = 0; i < 9; i++) scene.put(`c${i}`, check, 'critical');
  for (let i = 0; i < 100; i++) scene.put(`d${i}`, check);
  scene.advance(5000);
  expect(scene.core.count()).toEqual({ passing: 100, warning: 0, critical: 9 });
});

test.each([
  ['an operator releases it', (scene: Scene) => scene.core.release()],
  ['it has held for long enough', (scene: Scene) => scene.advance(60_000)],
])('[HC6] what is held is told when %s, and not held again at once', (_, end) => {
  const scene = new Scene();
  for (let i = 0; i < 20; i++) scene.put(`c${i}`, check);
  scene.advance(2000);
  for (let i = 0; i < 20; i++) scene.findings.set(`c${i}`, 'critical');
  scene.advance(5000);
  expect(scene.core.isHolding).toBe(true);
  end(scene);
  scene.advance(5000);
  expect(scene.core.isHolding).toBe(false);
  expect(scene.core.count()).toEqual({ passing: 0, warning: 0, critical: 20 });
});
