import { httpOperations } from '../protocol/http-operations.ts';
import type { Stats } from '../protocol/http-results.ts';
import { readAnswer } from './administration.ts';
import type { RegistryCalls } from './administration.ts';
import { AdministrationError } from './exit-codes.ts';
import { MetricReadings } from './metric-readings.ts';

/** What a registry says of itself at one moment. */
export interface Observation {
  /** By this process's clock, in milliseconds since 1970. */
  readonly atMs: number;
  readonly stats: Stats;
  readonly metrics: MetricReadings;
}

/** Asks for statistics and metrics. */
export async function observe(calls: RegistryCalls): Promise<Observation> {
  const { method, path } = httpOperations.readStats;
  const request = { method, path };
  const stats = readAnswer(await calls.ask(request), { base: calls.base, id: 'readStats', request }) as Stats;
  const { status, text, failure } = await calls.ask({ method: 'GET', path: httpOperations.readMetrics.path });
  if (failure !== undefined) throw AdministrationError.ofRefusal(failure);
  return { atMs: Date.now(), stats, metrics: new MetricReadings(status === 200 ? text : '') };
}
