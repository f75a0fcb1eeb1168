import { highestOf } from '../../protocol/extremes.ts';
import { nowMs } from '../clock.ts';
import { SetupError, UsageError } from '../failures.ts';
import { nameService, placesPerService } from '../population.ts';
import { readPeakRssBytes } from '../process-usage.ts';
import { countRegistered, get } from '../registry-count.ts';
import type { Scenario } from '../scenario.ts';
import { enterPhase, readServerRss, soonMs } from '../stage.ts';
import type { Stage } from '../stage.ts';
import { noteForeign, setUp, sum, verifyViews } from '../steps.ts';

/** So long after the last change the journals have it, and the server is at rest. */
const restMs = 1500;
/** From when connections break until the server is killed: it may not have noticed; and until they are made anew, by when it is dead. */
const killAfterMs = 50;
const awayMs = 200;
const timeoutMs = 120_000;
const askEveryMs = 10;
const warmUpMs = 10_000;

export const restart: Scenario = {
  name: 'restart',
  summary:
    'the server is killed and started again on its data folder, and everybody comes back: sessions are taken over, readers resume with what they hold',
  measures:
    'time from the start to the first answer, and until all is confirmed; lists that lost something, and pushes though nothing has changed, which both must be none; memory meanwhile',
  sizes: {
    sessions: { at: [20, 10_000, 10_000] },
    instances: { meaning: 'instances of each session', at: [5, 10, 100] },
    services: { at: [20, 10_000, 100_000] },
    subscribers: { at: [1, 1, 1] },
    readers: { at: [2, 100, 500] },
    window: { at: [5, 5, 5] },
    seconds: {
      meaning: 'how long readers watch on; longer than the warm-up, after which nothing may go either',
      at: [3, 20, 20],
    },
    metadataBytes: { at: [150, 150, 150] },
  },
  serverSettings: { dataDir: 'temporary', warmUpMs, sessionsPerSecondMax: 100_000, sessionsBurstMax: 100_000 },
  populate({ sessions, instances, services, subscribers, readers, metadataBytes }) {
    if (readers < subscribers) throw new UsageError(`--readers must be at least --subscribers (${subscribers})`);
    return { services, instances: sessions * instances, providers: sessions, subscribers, readers, metadataBytes };
  },
  async run(stage) {
    const { findings, fleet, population, sampler, server, sizes } = stage;
    if (server.restart === undefined) throw new UsageError('restart needs a server of its own: leave out --url');
    await setUp(stage);
    await fleet.give('introduce', null);
    await verifyViews(stage, { changes: 0, holds: 'all' });
    enterPhase(stage, 'rest');
    await fleet.idle(restMs);
    const rssAtRest = readServerRss(stage);
    enterPhase(stage, 'restart', true);
    const dropAtMs = soonMs();
    const stop = sampler.meter();
    const storm = fleet.give('storm', {
      dropAtMs,
      awayMs,
      jitterMs: 0,
      window: 5,
      isResuming: true,
      withReaders: true,
      timeoutMs,
    });
    await fleet.idle(dropAtMs + killAfterMs - nowMs());
    const startedAtMs = nowMs();
    const [firstAnswerAtMs] = await Promise.all([awaitFirstAnswer(stage, startedAtMs), server.restart()]);
    const outcomes = await storm;
    noteForeign(stage, stop());
    enterPhase(stage, 'watch on');
    await fleet.idle(sizes.seconds * 1000);
    const late = await fleet.give('tally', null);
    const peak = server.pid === undefined ? undefined : readPeakRssBytes(server.pid);

    const confirmedAtMs = highestOf(outcomes.map(({ lastBackAtMs }) => lastBackAtMs));
    const shrunken = sum(late, ({ falseRemovals }) => falseRemovals);
    const pushes = sum(outcomes, (outcome) => outcome.pushes) + sum(late, (tally) => tally.pushes);
    const resumed = sum(outcomes, (outcome) => outcome.resumed);
    const { providers, instances, namespace } = population;
    findings.addFigure(
      'firstAnswerMs',
      'from the kill to the first list',
      firstAnswerAtMs - startedAtMs,
      'ms',
      'lower',
    );
    findings.addFigure(
      'confirmedMs',
      'until all sessions had been taken over',
      confirmedAtMs - startedAtMs,
      'ms',
      'lower',
    );
    findings.addFigure('shrunkenViews', 'instances that a reader saw leave', shrunken, '', 'lower');
    findings.addFigure('changelessPushes', 'pushes though nothing had changed', pushes, '', 'lower');
    if (peak !== undefined && rssAtRest !== undefined) {
      findings.addFigure('rssAtRestBytes', 'memory of the server before', rssAtRest, 'B', 'lower');
      findings.addFigure(
        'peakRssRatio',
        'memory after the start at most, of that before',
        peak / rssAtRest,
        '',
        'lower',
      );
    }
    findings.check('every session was taken over whole', resumed === providers, `${resumed} of ${providers}`);
    findings.check('no reader saw an instance leave', shrunken === 0, `${shrunken}`);
    findings.check('nothing was pushed, since nothing had changed', pushes === 0, `${pushes}`);
    await verifyViews(stage, { changes: 0, holds: 'all' });
    const listed = await countRegistered(server.http, namespace);
    findings.check(
      'the registry lists all of them',
      listed.instances === instances,
      `${listed.instances} of ${instances}`,
    );
  },
};

/** Asks for a list until it is answered, and whole. Resolves to when that was. */
async function awaitFirstAnswer({ server, population }: Stage, sinceMs: number): Promise<number> {
  const path = `/v1/instances?namespace=${population.namespace}&service=${nameService(0)}`;
  const count = placesPerService(population);
  while (nowMs() < sinceMs + timeoutMs) {
    try {
      const { instances } = JSON.parse(await get(server.http, path)) as { readonly instances: readonly unknown[] };
      if (instances.length === count) return nowMs();
    } catch {
      // It does not listen yet.
    }
    await new Promise((resolve) => {
      setTimeout(resolve, askEveryMs);
    });
  }
  throw new SetupError('the server did not answer with the list of before');
}
