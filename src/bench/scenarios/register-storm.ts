import { countRegistered } from '../registry-count.ts';
import type { Scenario } from '../scenario.ts';
import { readServerRss } from '../stage.ts';
import { addAll, addRss, noteForeign, noteLag, openSessions, registerAll } from '../steps.ts';

export const registerStorm: Scenario = {
  name: 'register-storm',
  summary: 'many sessions register as fast as they may, nobody watches',
  measures: 'registrations a second and for each second of CPU, time to the answer, memory of an instance',
  sizes: {
    sessions: { at: [10, 500, 2000] },
    instances: { meaning: 'instances of each session', at: [20, 100, 50] },
    services: { at: [20, 5000, 5000] },
    window: { at: [8, 32, 16] },
    rate: { meaning: 'registrations a second on a fixed schedule; 0: as fast as the window lets', at: [0, 0, 0] },
    metadataBytes: { at: [150, 150, 150] },
  },
  populate: ({ sessions, instances, services, metadataBytes }) => ({
    services,
    instances: sessions * instances,
    providers: sessions,
    subscribers: 0,
    readers: 0,
    metadataBytes,
  }),
  async run(stage) {
    const { findings, population, sizes } = stage;
    await openSessions(stage, 'providers');
    const before = readServerRss(stage);
    const { outcomes, usage, acks, tookMs } = await registerAll(stage, { isMeasured: true, rate: sizes.rate });
    findings.addFigure('registrationsPerS', 'registrations a second', (acks * 1000) / tookMs, '/s', 'higher');
    if (usage.serverCpuMs !== undefined && usage.serverCpuMs > 0)
      findings.addFigure(
        'registrationsPerCpuS',
        'registrations for a second of CPU',
        (acks * 1000) / usage.serverCpuMs,
        '/s',
        'higher',
      );
    findings.addLatency('ack', 'register → acknowledged', addAll(outcomes.map(({ ack }) => ack)));
    const after = addRss(stage, 'rssBytes', 'memory of the server, resident');
    if (after !== undefined && before !== undefined)
      findings.addFigure('bytesPerInstance', 'memory for an instance', (after - before) / acks, 'B', 'lower');
    if (sizes.rate > 0) noteLag(stage, addAll(outcomes.map(({ lag }) => lag)));
    else
      findings.notes.push(
        'closed loop: each session waits for answers before it sends more, so answers are timed from when a request was sent; give --rate for a fixed schedule',
      );
    noteForeign(stage, usage);
    findings.check(
      'every registration was acknowledged',
      acks === population.instances,
      `${acks} of ${population.instances}`,
    );
    const listed = await countRegistered(stage.server.http, population.namespace);
    findings.check(
      'the registry lists them all',
      listed.instances === population.instances &&
        listed.services === Math.min(population.services, population.instances),
      `${listed.instances} instances in ${listed.services} services`,
    );
  },
};
