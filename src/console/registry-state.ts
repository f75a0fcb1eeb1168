import type { GuardResult, PartitionsResult, SlotsResult, Stats } from '../protocol/http-results.ts';
import type { SwitchesResult } from '../protocol/switches.ts';
import { callApi, readText } from './api.ts';
import { whenPrincipalChanges } from './credentials.ts';
import { parseMetrics } from './metrics.ts';
import type { MetricSample } from './metrics.ts';
import { Poller } from './poller.ts';

/** What several pages look at; read once for all of them. */
export const switchesPoller: Poller<SwitchesResult> = new Poller(() => callApi<SwitchesResult>('/v1/switches'), 2000);
export const guardPoller: Poller<GuardResult> = new Poller(() => callApi<GuardResult>('/v1/guard'), 3000);
export const statsPoller: Poller<Stats> = new Poller(() => callApi<Stats>('/v1/stats'), 3000);

const movingMs = 400;
const restingMs = 2000;
export const partitionsPoller: Poller<PartitionsResult> = new Poller(
  () => callApi<PartitionsResult>('/v1/partitions'),
  () => (partitionsPoller.state.value?.move.isRunning === true ? movingMs : restingMs),
);
export const slotsPoller: Poller<SlotsResult> = new Poller(
  () => callApi<SlotsResult>('/v1/slots'),
  () => (partitionsPoller.state.value?.move.isRunning === true ? movingMs : restingMs),
);

/** Samples that are kept: ten minutes. */
const samplesMax = 300;
const sampleMs = 2000;
const samples: MetricSample[] = [];

export const metricsPoller: Poller<readonly MetricSample[]> = new Poller(async () => {
  samples.push({ at: Date.now() / 1000, values: parseMetrics(await readText('/metrics')) });
  if (samples.length > samplesMax) samples.splice(0, samples.length - samplesMax);
  return samples.slice();
}, sampleMs);

whenPrincipalChanges(() => {
  samples.length = 0;
  for (const poller of [switchesPoller, guardPoller, statsPoller, partitionsPoller, slotsPoller, metricsPoller])
    poller.forget();
});

/** After something was changed. */
export function refreshState(): void {
  switchesPoller.refresh();
  guardPoller.refresh();
}
