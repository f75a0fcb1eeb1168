import { highestOf } from '../../protocol/extremes.ts';
import { UsageError } from '../failures.ts';
import { countRegistered } from '../registry-count.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase, soonMs } from '../stage.ts';
import type { Stage } from '../stage.ts';
import { addAll, addRss, checkRemovals, noteForeign, noteTrouble, setUp, sum, verifyViews } from '../steps.ts';

const timeoutMs = 120_000;
/** Longer than the grace for broken connections, so that a removal that should not be is seen. */
const watchOnMs = 2000;

export const reconnectStorm: Scenario = {
  name: 'reconnect-storm',
  summary:
    'all sessions that register break at once and come back, while steady witnesses watch: first they register anew, then they resume',
  measures:
    'time until everybody is back, and what that costs the server, both ways; instances that a witness saw leave, which must be none',
  sizes: {
    sessions: { at: [20, 1000, 10_000] },
    instances: { meaning: 'instances of each session', at: [5, 20, 50] },
    services: { at: [20, 1000, 5000] },
    subscribers: { meaning: 'witnesses of each service', at: [1, 1, 2] },
    readers: { meaning: 'sessions of witnesses; they stay connected', at: [2, 10, 50] },
    window: { at: [5, 5, 5] },
    jitterMs: { at: [0, 0, 0] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate({ sessions, instances, services, subscribers, readers, metadataBytes }) {
    if (readers < subscribers) throw new UsageError(`--readers must be at least --subscribers (${subscribers})`);
    return { services, instances: sessions * instances, providers: sessions, subscribers, readers, metadataBytes };
  },
  async run(stage) {
    await setUp(stage);
    await verifyViews(stage, { changes: 0, holds: 'all' });
    addRss(stage, 'rssBeforeBytes', 'memory of the server before');
    const anewMs = await storm(stage, { isResuming: false, phase: 'storm', suffix: '', title: 'registering anew' });
    await watchOn(stage);
    const { findings, fleet, population, sampler } = stage;
    const introduced = await fleet.give('introduce', null);
    findings.check(
      'every session has a secret',
      sum(introduced, (outcome) => outcome.introduced) === population.providers,
      `${sum(introduced, (outcome) => outcome.introduced)} of ${population.providers}`,
    );
    const resumedMs = await storm(stage, {
      isResuming: true,
      phase: 'storm, resuming',
      suffix: 'Resumed',
      title: 'resuming',
    });
    await watchOn(stage);
    if (anewMs !== undefined && resumedMs !== undefined)
      findings.addFigure(
        'cpuResumedPercent',
        'CPU of the server for resuming, of that for registering anew',
        (resumedMs / anewMs) * 100,
        '%',
        'lower',
      );
    const rssMax = highestOf(sampler.samples.map(({ serverRssBytes }) => serverRssBytes ?? Number.NaN));
    findings.addFigure('rssMaxBytes', 'memory of the server at most', rssMax, 'B', 'lower');
  },
};

interface Storm {
  readonly isResuming: boolean;
  readonly phase: string;
  /** Appended to the keys of figures. */
  readonly suffix: string;
  readonly title: string;
}

/** Breaks all connections, and waits until everybody is back. Returns the CPU of the server that it took, in milliseconds. */
async function storm(stage: Stage, { isResuming, phase, suffix, title }: Storm): Promise<number | undefined> {
  const { findings, fleet, population, sampler, sizes } = stage;
  enterPhase(stage, phase, true);
  const dropAtMs = soonMs();
  const stop = sampler.meter();
  const { jitterMs, window } = sizes;
  const outcomes = await fleet.give('storm', {
    dropAtMs,
    awayMs: 0,
    jitterMs,
    window,
    isResuming,
    withReaders: false,
    timeoutMs,
  });
  const usage = stop();
  sampler.sample();
  noteTrouble(stage, outcomes);
  noteForeign(stage, usage);
  findings.addLatency(
    `back${suffix}`,
    `${title}: broken → all registrations of a session acknowledged again`,
    addAll(outcomes.map(({ back }) => back)),
  );
  findings.addFigure(
    `convergenceMs${suffix}`,
    `${title}: from the loss until everybody was back`,
    highestOf(outcomes.map(({ lastBackAtMs }) => lastBackAtMs)) - dropAtMs,
    'ms',
    'lower',
  );
  findings.addFigure(
    `refusals${suffix}`,
    `${title}: connects that the server refused`,
    sum(outcomes, ({ refusals }) => refusals),
    '',
    'neither',
  );
  findings.addFigure(
    `witnessPushes${suffix}`,
    `${title}: pushes to witnesses`,
    sum(outcomes, ({ pushes }) => pushes),
    '',
    'lower',
  );
  if (usage.serverCpuMs !== undefined)
    findings.addFigure(`cpuMs${suffix}`, `${title}: CPU of the server for the storm`, usage.serverCpuMs, 'ms', 'lower');
  const returned = sum(outcomes, (outcome) => outcome.returned);
  findings.check(
    `${title}: every session came back`,
    returned === population.providers,
    `${returned} of ${population.providers}`,
  );
  if (isResuming) {
    const resumed = sum(outcomes, (outcome) => outcome.resumed);
    findings.check(
      'every session was taken over whole',
      resumed === population.providers,
      `${resumed} of ${population.providers}`,
    );
  }
  return usage.serverCpuMs;
}

/** Longer than the grace: nobody must see anything leave. */
async function watchOn(stage: Stage): Promise<void> {
  const { findings, fleet, population } = stage;
  enterPhase(stage, 'watch on');
  await fleet.idle(watchOnMs);
  const late = await fleet.give('tally', null);
  checkRemovals(stage, late, 'no witness saw an instance leave');
  await verifyViews(stage, { changes: 0, holds: 'all' });
  const listed = await countRegistered(stage.server.http, population.namespace);
  findings.check(
    'the registry lists all of them',
    listed.instances === population.instances,
    `${listed.instances} of ${population.instances}`,
  );
}
