import type { VNode } from 'preact';

import type { Stats } from '../protocol/http-results.ts';
import { formatBytes, formatCount } from './format.ts';
import { quantileOf, rateOf, readLabels, sumOf } from './metrics.ts';
import type { MetricSample } from './metrics.ts';
import { usePoller } from './poller.ts';
import { metricsPoller, statsPoller } from './registry-state.ts';

const busyFamily = 'slotcast_event_loop_busy_seconds_total';

interface ThreadFigures {
  readonly thread: string;
  /** Of a core, 0 to 1; null: not yet known. */
  readonly busy: number | null;
  readonly delayMs: number | null;
  readonly gc: number | null;
  readonly heap: number;
  readonly external: number;
}

function readThreads(samples: readonly MetricSample[]): readonly ThreadFigures[] {
  const after = samples.at(-1);
  if (after === undefined) return [];
  const before = samples.at(-2);
  const names = [...after.values.keys()].flatMap((series) => readLabels(series, busyFamily)?.['thread'] ?? []);
  return names.map((thread) => {
    const labels = { thread };
    const delay =
      before === undefined
        ? null
        : quantileOf(0.99, before, after, { family: 'slotcast_event_loop_delay_seconds', labels });
    return {
      thread,
      busy: before === undefined ? null : rateOf(before, after, busyFamily, labels),
      delayMs: delay === null ? null : delay * 1000,
      gc: before === undefined ? null : rateOf(before, after, 'slotcast_gc_duration_seconds_sum', labels),
      heap: sumOf(after.values, 'slotcast_heap_used_bytes', labels),
      external: sumOf(after.values, 'slotcast_external_memory_bytes', labels),
    };
  });
}

export function ThreadsPage(): VNode {
  const { value: samples = [], error } = usePoller(metricsPoller);
  const { value: stats } = usePoller(statsPoller);
  const values = samples.at(-1)?.values ?? new Map<string, number>();
  const resident = sumOf(values, 'process_resident_memory_bytes');
  const threads = readThreads(samples);
  return (
    <>
      <header class="page-head">
        <h1>Threads</h1>
        <p class="figures" role="status">
          {error === undefined
            ? `${formatBytes(resident)} resident · ${formatCount(sumOf(values, 'process_open_fds'))} descriptors · version ${stats?.version ?? '…'}`
            : error.message}
        </p>
      </header>
      <div class="scrolled" tabIndex={0} role="region" aria-label="Threads">
        <table class="threads">
          <thead>
            <tr>
              <th scope="col">Thread</th>
              <th scope="col">Busy</th>
              <th scope="col" class="number">
                Late, p99
              </th>
              <th scope="col" class="number">
                Collecting
              </th>
              <th scope="col" class="number">
                Heap
              </th>
              <th scope="col" class="number">
                Outside
              </th>
            </tr>
          </thead>
          <tbody>
            {threads.map(({ thread, busy, delayMs, gc, heap, external }) => (
              <tr key={thread}>
                <th scope="row">{thread}</th>
                <td>
                  <span class="meter-cell">
                    <meter
                      min={0}
                      max={1}
                      low={0.7}
                      high={0.9}
                      optimum={0}
                      value={busy ?? 0}
                      aria-label={`${thread}, busy`}
                    />
                    <span class="number">{formatShare(busy)}</span>
                  </span>
                </td>
                <td class="number">{delayMs === null ? '–' : `${delayMs.toFixed(1)} ms`}</td>
                <td class="number">{formatShare(gc)}</td>
                <td class="number">{formatBytes(heap)}</td>
                <td class="number">{formatBytes(external)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        <HostTable stats={stats} />
      </div>
    </>
  );
}

function formatShare(share: number | null): string {
  return share === null ? '–' : `${(share * 100).toFixed(1)} %`;
}

function HostTable({ stats }: { readonly stats: Stats | undefined }): VNode {
  return (
    <table>
      <caption>What threads with sessions hold</caption>
      <thead>
        <tr>
          <th scope="col">Host</th>
          <th scope="col" class="number">
            Sessions
          </th>
          <th scope="col" class="number">
            Registrations
          </th>
        </tr>
      </thead>
      <tbody>
        {(stats?.hosts ?? []).map(({ host, sessions, registrations }) => (
          <tr key={host}>
            <th scope="row">{host === 0 ? '0 (main)' : host}</th>
            <td class="number">{formatCount(sessions)}</td>
            <td class="number">{formatCount(registrations)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
