/** The thread that makes checks: probes what the pure core says is due, and tells the main thread what that thinks of it. */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

import { parseScript } from '../config/check-scripts.ts';
import { ProbeTargets } from '../config/probe-targets.ts';
import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import { BodyMatcher } from './body-matcher.ts';
import { CheckCore } from './check-core.ts';
import type { Finding, Probe } from './check-core.ts';
import { probeGrpc } from './grpc-probe.ts';
import type { HealthReport, HealthThreadStart, ToHealthThread } from './health-messages.ts';
import { failed, probeHttp, probeTcp, tooLate } from './http-probe.ts';
import type { ProbeRoute } from './http-probe.ts';
import { NameResolver } from './name-resolver.ts';
import { probeScript } from './script-probe.ts';

/** How often what is due is looked at, in milliseconds. */
const tickMs = 50;
/** Figures are told once in so many ticks though nothing else is. */
const figuresTicks = 20;
if (parentPort === null) throw new Error('not a thread');
const mainPort = parentPort;

class HealthThread {
  readonly #core: CheckCore;
  readonly #targets: ProbeTargets;
  readonly #scripts: ReadonlyMap<string, readonly string[]>;
  readonly #matcher: BodyMatcher = new BodyMatcher();
  readonly #names: NameResolver = new NameResolver({ lookup, readMs: () => performance.now() });
  #probes = 0;
  #failures = 0;
  #ticks = 0;

  constructor({ settings }: HealthThreadStart) {
    const { checkProbesMax, checkLossMin, checkLossPercent, lossHoldMaxMs, checkTargets, checkScripts } = settings;
    this.#core = new CheckCore({
      probesMax: checkProbesMax,
      lossChecksMin: checkLossMin,
      lossPercent: checkLossPercent,
      holdMaxMs: lossHoldMaxMs,
      random: Math.random,
      nowMs: performance.now(),
    });
    this.#targets = new ProbeTargets(checkTargets);
    this.#scripts = new Map(checkScripts.flatMap((entry) => [parseScript(entry)!]));
  }

  handle(message: ToHealthThread): void {
    const nowMs = performance.now();
    switch (message.kind) {
      case 'put':
        this.#core.put(message.name, message.target, nowMs, message.health, message.number);
        return;
      case 'drop':
        this.#core.drop(message.name);
        return;
      case 'hear':
        this.#core.hear(message.name, nowMs);
        return;
      case 'release':
        this.#core.release();
        return;
      default:
        message satisfies never;
    }
  }

  tick(): void {
    this.#begin(this.#core.advance(performance.now()));
    this.#ticks += 1;
    const standings = this.#core.takeStandings();
    const overdue = this.#core.takeOverdue(performance.now());
    if (standings.length + overdue.length === 0 && this.#ticks % figuresTicks !== 0) return;
    const { underWay, waiting, isHolding, heldCount } = this.#core;
    const figures = { probes: this.#probes, failures: this.#failures, underWay, waiting, isHolding, heldCount };
    mainPort.postMessage({ standings, overdue, figures } satisfies HealthReport);
  }

  #begin(probes: readonly Probe[]): void {
    for (const probe of probes) {
      this.#probes += 1;
      void this.#make(probe).then((finding) => {
        if (finding.health !== 'passing') this.#failures += 1;
        this.#begin(this.#core.settle(probe, finding, performance.now()));
      });
    }
  }

  async #make({ target, timeoutMs }: Probe): Promise<Finding> {
    const { check, host, port } = target;
    try {
      if (check.kind === 'script') {
        const words = this.#scripts.get(check.script);
        return words === undefined
          ? { health: 'critical', output: 'the server defines no such script' }
          : await probeScript(words, target, timeoutMs);
      }
      if (check.kind === 'ttl') throw new Error('nothing is probed');
      const found = isIP(host) === 0 ? await this.#names.find(host, timeoutMs) : { address: host, leftMs: timeoutMs };
      if (found === undefined) return tooLate(timeoutMs);
      const { address, leftMs } = found;
      if (!this.#targets.allows(address)) {
        return { health: 'critical', output: `checks must not reach ${address}: see checkTargets` };
      }
      return await this.#reach(check, { address, host, port: check.port ?? port, timeoutMs: leftMs });
    } catch (error) {
      return failed(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #reach(
    check: Exclude<Probe['target']['check'], { readonly kind: 'ttl' | 'script' }>,
    route: ProbeRoute,
  ): Promise<Finding> {
    switch (check.kind) {
      case 'http':
      case 'https':
        return probeHttp(check, route, this.#matcher);
      case 'tcp':
        return probeTcp(route);
      case 'grpc':
        return probeGrpc(check, route);
      default:
        return check satisfies never;
    }
  }
}

const start = workerData as HealthThreadStart;
const thread = new HealthThread(start);
const sampler = new ThreadSampler(new ThreadGauges(start.gauges), tickMs);
setInterval(() => {
  sampler.sample();
  thread.tick();
}, tickMs);
mainPort.on('message', (messages: readonly ToHealthThread[]) => {
  for (const message of messages) thread.handle(message);
});
