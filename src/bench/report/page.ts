import type { BenchResult, RunResult } from '../result.ts';
import { compareRuns } from './comparison.ts';
import { formatBytes, formatFigure, formatMs, formatOption } from './formatting.ts';
import { escapeHtml, renderList, renderTable } from './markup.ts';
import { renderCharts } from './run-charts.ts';
import { style } from './style.ts';
import { formatStatus } from './table.ts';

/** The report: one page that holds all it needs, for somebody who was not there. With `before`, another run beside it. */
export function renderReport(result: BenchResult, before?: BenchResult): string {
  const title = `slotcast bench: ${result.runs.map(({ scenario }) => scenario).join(', ')}`;
  const runs = result.runs.map((run) =>
    renderRun(
      run,
      before?.runs.find(({ scenario }) => scenario === run.scenario),
      before !== undefined,
    ),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header><h1>slotcast under load</h1><p>${escapeHtml(formatWhen(result))}</p></header>
${runs.join('\n')}
${renderEnvironment(result, before)}
${howToRead}
</main>
</body>
</html>
`;
}

function formatWhen({ environment, server, slotcast }: BenchResult): string {
  const at = server.url === null ? `slotcast ${slotcast}, started for this` : `the server at ${server.url}`;
  return `${environment.startedAt.slice(0, 16).replace('T', ' ')} UTC · ${at} · ${environment.cpus} × ${environment.cpuModel}`;
}

function renderRun(run: RunResult, before: RunResult | undefined, isCompared: boolean): string {
  const settings = Object.entries(run.settings).map(([name, value]) => `${formatOption(name)} ${value}`);
  return `<section class="run">
<h2>${escapeHtml(run.scenario)} <span class="status ${run.status}">${formatStatus(run)}</span></h2>
<p>${escapeHtml(run.summary)}.</p>
<p class="settings"><code>slotcast bench ${escapeHtml(`${run.scenario} ${settings.join(' ')} --seed ${run.seed}`)}</code></p>
${renderTiles(run)}
${renderList('What limits this result', run.limits)}
${before === undefined ? '' : renderComparison(run, before)}
${isCompared && before === undefined ? '<p>The run to compare with does not have this scenario.</p>' : ''}
${renderCharts(run, before)}
${renderLatencies(run)}
${renderFigures(run)}
${renderChecks(run)}
${renderList('Notes', run.notes)}
</section>`;
}

/** The few figures that answer the question first. */
function renderTiles(run: RunResult): string {
  const headline = run.latencies.find(({ key }) => key === 'last') ?? run.latencies[0];
  const tiles: (readonly [string, string])[] =
    headline === undefined
      ? []
      : [
          [`${headline.label}, p50`, formatMs(headline.latency.p50Ms)],
          [`${headline.label}, p99`, formatMs(headline.latency.p99Ms)],
        ];
  for (const figure of run.figures.filter(({ key }) => tileFigures.has(key)))
    tiles.push([figure.label, formatFigure(figure)]);
  return `<div class="tiles">${tiles.map(([label, value]) => `<div><b>${escapeHtml(value)}</b><span>${escapeHtml(label)}</span></div>`).join('')}</div>`;
}

const tileFigures: ReadonlySet<string> = new Set([
  'registrationsPerS',
  'registrationsPerCpuS',
  'bytesPerInstance',
  'pushesPerS',
  'cpuPerPushUs',
  'rssBytes',
  'convergenceMs',
  'healthyP99Ratio',
  'userBytesPerSession',
  'kernelBytesPerSession',
  'deployMs',
]);

function renderLatencies({ latencies }: RunResult): string {
  if (latencies.length === 0) return '';
  const rows = latencies.map(({ label, latency: { p50Ms, p90Ms, p99Ms, p999Ms, maxMs, samples } }) => [
    label,
    ...[p50Ms, p90Ms, p99Ms, p999Ms, maxMs].map(formatMs),
    String(samples),
  ]);
  return `<h3>Latency</h3>${renderTable(['from when it was due', 'p50', 'p90', 'p99', 'p99.9', 'max', 'samples'], rows)}`;
}

function renderFigures({ figures }: RunResult): string {
  if (figures.length === 0) return '';
  const rows = figures.map((figure) => [figure.label, formatFigure(figure)]);
  return `<h3>Figures</h3>${renderTable(['', ''], rows)}`;
}

function renderChecks({ checks }: RunResult): string {
  const rows = checks.map(
    ({ name, isHeld, detail }) =>
      `<tr class="${isHeld ? 'held' : 'broken'}"><td>${isHeld ? 'ok' : 'FAILED'}</td><td>${escapeHtml(name)}</td><td>${escapeHtml(detail)}</td></tr>`,
  );
  return `<h3>Was the result right?</h3><div class="wide"><table><tbody>${rows.join('')}</tbody></table></div>`;
}

function renderComparison(run: RunResult, before: RunResult): string {
  const { rows, differences } = compareRuns(run, before);
  const body = rows.map(
    ({ label, before: was, now, ratio, verdict }) =>
      `<tr class="${verdict}"><td>${escapeHtml(label)}</td><td class="n">${escapeHtml(was)}</td><td class="n">${escapeHtml(now)}</td><td class="n">${ratio}</td><td class="n">${verdict}</td></tr>`,
  );
  const note =
    'One run on each side: differences below a tenth are not judged, and larger ones can still be chance on a machine that others use. Repeat both, by turns, before you decide.';
  return `<h3>Beside the run of ${escapeHtml(before.startedAt.slice(0, 16).replace('T', ' '))} UTC</h3>
${renderList('The runs differ in', differences)}
<div class="wide"><table><thead><tr><th></th><th class="n">before</th><th class="n">now</th><th class="n">now / before</th><th class="n"></th></tr></thead><tbody>${body.join('')}</tbody></table></div>
<p class="small">${note}</p>`;
}

function renderEnvironment(result: BenchResult, before: BenchResult | undefined): string {
  const columns = before === undefined ? [result] : [before, result];
  const described = columns.map(describe);
  const rows = described[0]!.map(([name], row) => [name, ...described.map((rowsOf) => rowsOf[row]![1])]);
  const head = before === undefined ? ['', ''] : ['', 'before', 'now'];
  return `<section class="environment"><h2>Where it was measured</h2>${renderTable(head, rows)}</section>`;
}

function describe({ environment, server, slotcast, runs }: BenchResult): (readonly [string, string])[] {
  const settings = Object.entries(server.settings).map(([name, value]) => `${name}=${String(value)}`);
  return [
    ['started', environment.startedAt],
    ['server', server.url ?? `slotcast ${slotcast}, started by the bench`],
    ['partitions', server.partitions === null ? 'not known' : String(server.partitions)],
    ['settings beyond the defaults', settings.length === 0 ? 'none' : settings.join(' ')],
    ['CPU and memory of the server', server.isObserved ? 'read from /proc' : 'not known'],
    ['load processes', [...new Set(runs.map(({ loadProcesses }) => loadProcesses))].join(', ')],
    ['Node.js', environment.node],
    ['system', `${environment.platform}, kernel ${environment.kernel}`],
    ['processor', `${environment.cpus} × ${environment.cpuModel}`],
    ['memory', formatBytes(environment.memoryBytes)],
    ['cores of the server', environment.serverCores ?? 'not bound'],
    ['cores of the load', environment.loadCores ?? 'not bound'],
    ['net.core.somaxconn', environment.somaxconn],
    ['net.ipv4.tcp_wmem', environment.tcpWmem],
    ['net.ipv4.tcp_mem', environment.tcpMem],
  ];
}

const howToRead = `<section class="how"><h2>How to read this</h2>
<p>Changes are sent on a fixed schedule, whatever comes back. Every latency counts from the moment at which the change was due, so a server that
stalls is charged for all that had to wait meanwhile (no coordinated omission). The headline is the time until the <em>last</em> of all
subscribers has deliveries of a change; a change that reached a subscriber merged with later ones counts with its own start. Percentiles come
from HDR histograms with three digits.</p>
<p>At the end the lists of all subscribers are compared with what was registered; a run in which they differ is marked FAILED, and its
figures mean nothing. CPU is that of all threads of the server's process, user and system. The server, the load and the network share one
machine unless said otherwise: figures say how one server did here, not how it does elsewhere.</p></section>`;
