import { highestOf, lowestOf } from '../protocol/extremes.ts';
import { addPacked, createHistogram, recordMs } from './histogram.ts';
import type { Histogram } from './histogram.ts';
import type { PropagationOutcome, RegisterOutcome, Tallies, VerifyOrder } from './load-orders.ts';
import { findForeignShare } from './sampler.ts';
import type { Usage } from './sampler.ts';
import { enterPhase, leadMs, readServerRss, soonMs } from './stage.ts';
import type { Stage } from './stage.ts';

/** Steps that scenarios are made of. */

/** The server bounds what waits for a partition; with many sessions each may have fewer requests in flight. */
const requestsUnderWayMax = 40_000;

export async function openSessions(stage: Stage, who: 'providers' | 'readers'): Promise<void> {
  enterPhase(stage, 'connect');
  const outcomes = await stage.fleet.give('open', { who });
  const refusals = sum(outcomes, ({ refusals }) => refusals);
  if (refusals > 0)
    stage.findings.notes.push(`the server refused ${refusals} handshakes while sessions connected; they came again`);
}

export interface Registered {
  readonly outcomes: readonly RegisterOutcome[];
  readonly usage: Usage;
  readonly acks: number;
  readonly tookMs: number;
}

/** Registers all that providers hold. */
export async function registerAll(
  stage: Stage,
  options: { readonly isMeasured?: boolean; readonly rate?: number; readonly isHalf?: boolean } = {},
): Promise<Registered> {
  const { isMeasured = false, rate = 0, isHalf = false } = options;
  const { providers } = stage.population;
  const window = Math.max(1, Math.min(stage.sizes.window || 64, Math.floor(requestsUnderWayMax / providers)));
  enterPhase(stage, 'register', isMeasured);
  const startAtMs = soonMs();
  const stop = stage.sampler.meter();
  const outcomes = await stage.fleet.give('register', { window, rate, startAtMs, isHalf });
  const usage = stop();
  const endedAtMs = highestOf(outcomes.map((outcome) => outcome.endedAtMs));
  noteTrouble(stage, outcomes);
  return { outcomes, usage, acks: sum(outcomes, ({ acks }) => acks), tookMs: endedAtMs - startAtMs };
}

export async function subscribeAll(stage: Stage): Promise<void> {
  enterPhase(stage, 'subscribe');
  const outcomes = await stage.fleet.give('subscribe', null);
  const { services, subscribers } = stage.population;
  const tookMs = highestOf(outcomes.map((outcome) => outcome.tookMs));
  stage.findings.addFigure(
    'subscribeMs',
    `${services * subscribers} subscriptions, until each had its first list`,
    tookMs,
    'ms',
    'lower',
  );
}

/** Connects, registers and subscribes. */
export async function setUp(stage: Stage): Promise<void> {
  await openSessions(stage, 'providers');
  await registerAll(stage);
  await openSessions(stage, 'readers');
  await subscribeAll(stage);
}

export interface ChurnOptions {
  readonly phase: string;
  /** Changes a second; by default as many as the sizes say. */
  readonly rate?: number;
  readonly firstChange: number;
  readonly seconds: number;
  /** Undefined: not measured. */
  readonly title?: string;
  /** Appended to the keys of figures, where a scenario has more than one churn. */
  readonly suffix?: string;
}

const settleMs = 15_000;

/** Changes instances for so long; returns how many changes there have been in all. */
export async function churn(stage: Stage, options: ChurnOptions): Promise<number> {
  const { rate = stage.sizes.rate } = options;
  const { firstChange, title } = options;
  const changes = Math.max(1, Math.round(options.seconds * rate));
  enterPhase(stage, options.phase, title !== undefined);
  const startAtMs = soonMs();
  const stop = stage.sampler.meter();
  const outcomes = await stage.fleet.give('churn', { firstChange, changes, rate, startAtMs, settleMs });
  const usage = stop();
  stage.sampler.sample();
  noteTrouble(stage, outcomes);
  checkDelivered(stage, outcomes, `${options.phase}: every change reached every reader`);
  checkRemovals(stage, outcomes, `${options.phase}: no instance was seen to leave`);
  if (title !== undefined) {
    const intendedAtMs = (change: number): number => startAtMs + (change * 1000) / rate;
    reportHearing(stage, { title, suffix: options.suffix ?? '', outcomes, events: changes, intendedAtMs, usage });
  }
  return firstChange + changes;
}

interface HearingReport {
  readonly title: string;
  readonly suffix: string;
  readonly outcomes: readonly PropagationOutcome[];
  readonly events: number;
  readonly intendedAtMs: (event: number) => number;
  /** Undefined: what it cost is reported elsewhere. */
  readonly usage: Usage | undefined;
  /** Only these events; by default all. */
  readonly only?: (event: number) => boolean;
  readonly noun?: string;
}

/** Latencies of the events of a churn or a deploy, from their intended moments, and what they cost. */
export function reportHearing(stage: Stage, report: HearingReport): void {
  const { title, suffix, outcomes, events, intendedAtMs, usage, noun = 'change' } = report;
  const { findings } = stage;
  const [last, first, ack, lag] = [createHistogram(), createHistogram(), createHistogram(), createHistogram()];
  const points: { atMs: number; ms: number }[] = [];
  for (let event = 0; event < events; event += 1) {
    if (report.only?.(event) === false) continue;
    const due = intendedAtMs(event);
    const lastMs = combine(outcomes, ({ lastAtMs }) => lastAtMs[event]!, highestOf) - due;
    const firstMs = combine(outcomes, ({ firstAtMs }) => firstAtMs[event]!, lowestOf) - due;
    record(last, lastMs);
    record(first, firstMs);
    record(ack, combine(outcomes, ({ ackAtMs }) => ackAtMs[event]!, highestOf) - due);
    record(lag, combine(outcomes, ({ sentAtMs }) => sentAtMs[event]!, highestOf) - due);
    if (!Number.isNaN(lastMs)) points.push({ atMs: due - stage.sampler.startedAtMs, ms: lastMs });
  }
  findings.addLatency(`last${suffix}`, `${title}: ${noun} → last push`, last);
  findings.addLatency(`first${suffix}`, `${title}: ${noun} → first push`, first);
  if (report.only === undefined)
    findings.addLatency(`each${suffix}`, `${title}: ${noun} → each push`, addAll(outcomes.map(({ each }) => each)));
  findings.addLatency(`ack${suffix}`, `${title}: ${noun} → acknowledged`, ack);
  addOverTime(stage, points);
  noteLag(stage, lag);
  if (usage !== undefined)
    reportUsage(stage, { title, suffix, usage, pushes: sum(outcomes, ({ pushes }) => pushes), outcomes });
}

function reportUsage(
  stage: Stage,
  {
    title,
    suffix,
    usage,
    pushes,
    outcomes,
  }: Pick<HearingReport, 'title' | 'suffix' | 'outcomes'> & {
    readonly usage: Usage;
    readonly pushes: number;
  },
): void {
  const { findings } = stage;
  const activeMs = usage.wallMs - leadMs;
  const deliveries = sum(outcomes, ({ received }) => received);
  findings.addFigure(`pushesPerS${suffix}`, `${title}: pushes a second`, (pushes * 1000) / activeMs, '/s', 'higher');
  findings.addFigure(`changesPerPush${suffix}`, `${title}: changes in a push`, deliveries / pushes, '', 'neither');
  findings.addFigure(
    `bytesPerPush${suffix}`,
    `${title}: bytes of a push`,
    sum(outcomes, ({ pushBytes }) => pushBytes) / pushes,
    'B',
    'lower',
  );
  if (usage.serverCpuMs !== undefined && usage.serverCpuMs > 0) {
    findings.addFigure(
      `cpuPercent${suffix}`,
      `${title}: CPU of the server, of one core`,
      (usage.serverCpuMs / activeMs) * 100,
      '%',
      'lower',
    );
    findings.addFigure(
      `cpuPerPushUs${suffix}`,
      `${title}: CPU of the server for a push`,
      (usage.serverCpuMs * 1000) / pushes,
      'µs',
      'lower',
    );
  }
  noteForeign(stage, usage);
}

export function noteForeign(stage: Stage, usage: Usage): void {
  if (stage.server.pid !== undefined)
    stage.findings.foreignShare = Math.max(stage.findings.foreignShare, findForeignShare(usage));
}

/** Beyond this the schedule was not kept. */
const lagMaxMs = 10;

export function noteLag({ findings }: Stage, lag: Histogram): void {
  const p99Ms = lag.getValueAtPercentile(99) / 1000;
  if (lag.totalCount > 0 && p99Ms > lagMaxMs)
    findings.limits.add(
      `the load generator sent 1 % of the requests more than ${Math.round(p99Ms)} ms late; latencies count from when they were due, so they hold its delay too`,
    );
}

export function checkDelivered(stage: Stage, outcomes: readonly PropagationOutcome[], name: string): void {
  const [received, awaited] = [
    sum(outcomes, (outcome) => outcome.received),
    sum(outcomes, (outcome) => outcome.awaited),
  ];
  const isSettled = outcomes.every((outcome) => outcome.isSettled);
  stage.findings.check(name, isSettled && received === awaited, `${received} of ${awaited}`);
}

/** Nobody saw an instance go that did not. */
export function checkRemovals(stage: Stage, outcomes: readonly Tallies[], name: string): void {
  const falseRemovals = sum(outcomes, (outcome) => outcome.falseRemovals);
  stage.findings.check(name, falseRemovals === 0, `${falseRemovals} seen`);
}

/** Compares what every reader holds with what was registered. */
export async function verifyViews(
  stage: Stage,
  order: Omit<VerifyOrder, 'settleMs'>,
): Promise<{ readonly closedReaders: number }> {
  enterPhase(stage, 'verify');
  const outcomes = await stage.fleet.give('verify', { ...order, settleMs });
  const [views, wrong] = [sum(outcomes, (outcome) => outcome.views), sum(outcomes, ({ wrongViews }) => wrongViews)];
  const example = outcomes.find((outcome) => outcome.wrongViews > 0)?.example ?? '';
  stage.findings.check(
    'every reader holds the right lists',
    wrong === 0,
    wrong === 0 ? `${views} lists` : `${wrong} of ${views} lists are wrong: ${example}`,
  );
  return { closedReaders: sum(outcomes, (outcome) => outcome.closedReaders) };
}

export function addRss(stage: Stage, key: string, label: string): number | undefined {
  const rss = readServerRss(stage);
  if (rss !== undefined) stage.findings.addFigure(key, label, rss, 'B', 'lower');
  return rss;
}

export function noteTrouble({ findings }: Stage, outcomes: readonly Tallies[]): void {
  const busy = sum(outcomes, ({ busyAnswers }) => busyAnswers);
  const resyncs = sum(outcomes, (outcome) => outcome.resyncs);
  if (busy > 0) findings.notes.push(`the server refused ${busy} requests as busy; they were sent again`);
  if (resyncs > 0) findings.notes.push(`${resyncs} times a reader missed a version and asked for the whole list`);
}

export function addAll(packed: readonly string[]): Histogram {
  const all = createHistogram();
  for (const one of packed) addPacked(all, one);
  return all;
}

export function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function record(histogram: Histogram, ms: number): void {
  if (!Number.isNaN(ms)) recordMs(histogram, ms);
}

function combine<T>(
  items: readonly T[],
  of: (item: T) => number,
  choose: (values: readonly number[]) => number,
): number {
  const known = items.map(of).filter((value) => !Number.isNaN(value));
  return known.length === 0 ? Number.NaN : choose(known);
}

/** By the second in which the events were due. */
function addOverTime({ findings }: Stage, points: readonly { readonly atMs: number; readonly ms: number }[]): void {
  const bySecond = new Map<number, Histogram>();
  for (const { atMs, ms } of points) {
    const second = Math.floor(atMs / 1000);
    const histogram = bySecond.get(second) ?? createHistogram();
    bySecond.set(second, histogram);
    recordMs(histogram, ms);
  }
  for (const [second, histogram] of [...bySecond].sort(([a], [b]) => a - b)) {
    const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
    findings.latencyOverTime.push({ atS: second, p50Ms: at(50), p99Ms: at(99), maxMs: histogram.maxValue / 1000 });
  }
}
