import { isDeepStrictEqual } from 'node:util';

import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { QueryResult, RegisterResult, SessionOpenResult, SubscribeResult } from '../../src/protocol/types.ts';
import { InProcessRegistry, runPromises } from './in-process-registry.ts';
import { MemoryStore } from './memory-store.ts';
import { Random } from './random.ts';
import { SimulatedClient } from './simulated-client.ts';
import type { Answered } from './simulated-client.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import type { SubscriberView } from './subscriber-view.ts';

/** What disturbs a registry between its restarts. */
export interface WarmRestartFaults {
  readonly kills: boolean;
  readonly moves: boolean;
}

/** What histories did, and what was compared. */
export interface WarmRestartFindings {
  crashes: number;
  /** Ends in order. */
  stops: number;
  /** Lists that were compared with what they may be. */
  lists: number;
  /** Instances that lives began with. */
  kept: number;
  /** Sessions that were taken over in a later life. */
  resumed: number;
  /** Of those, the ones of which it was known what they held. */
  digests: number;
  /** Subscriptions that continued where nothing had changed. */
  continued: number;
}

const services = ['pay', 'ship', 'größe/世界'] as const;
const ids = ['a', 'b', 'c'] as const;
const lives = 4;
const disconnectGraceMs = 200;
const warmUpMs = 1000;
const warmUpMaxMs = 2000;
/** After its time a session is gone this much later, in milliseconds, while nothing disturbs that. */
const lingerMs = 500;
const hourMs = 3_600_000;
/** How far the wall clock is set back between two lives, in milliseconds. */
const setBacksMs = [0, 0, 5000, hourMs] as const;
/** Sessions that claim the same are few, and more are not let go. */
const playersMax = 5;

/** What an instance was asked to be: its mark, which is its port; 0: not there. */
interface Wish {
  readonly mark: number;
  isAnswered: boolean;
  /** As the registry has it; empty: not known. */
  fragment: string;
}

/** `told`: the highest version that anybody had been told of the service when it was asked. */
interface Question {
  readonly claim: Claim;
  readonly wish: Wish;
  readonly told: number;
}

interface Claim {
  readonly service: string;
  readonly id: string;
  /** The one that must outlive the process by now, then those since, which may. */
  wishes: Wish[];
}

/** A session, and who has it. */
interface Player {
  readonly name: string;
  readonly claims: Map<string, Claim>;
  secret: string;
  client: SimulatedClient | undefined;
  /** It may be asked for something. */
  isOpen: boolean;
  /** Nobody knows its secret any more. */
  isLost: boolean;
  /** In milliseconds of the present life. */
  mayEndFromMs: number;
  goneByMs: number;
}

/** Somebody who only subscribes, over all lives. */
interface Watcher {
  client: SimulatedClient;
  readonly held: Map<string, SubscriberView>;
  /** Services of which it held all when it was last compared. */
  readonly current: Set<string>;
}

interface Shown {
  readonly version: number;
  readonly marks: ReadonlyMap<string, number>;
  /** Every claim, with its order, its session, and whether it shows. */
  readonly claims: readonly string[];
}

/** Runs histories in which the process ends again and again, in order or not, and begins with what it had noted; rejects with what was wrong. */
export async function runWarmRestarts(
  seeds: readonly number[],
  faults: WarmRestartFaults,
): Promise<WarmRestartFindings> {
  const total: WarmRestartFindings = {
    crashes: 0,
    stops: 0,
    lists: 0,
    kept: 0,
    resumed: 0,
    digests: 0,
    continued: 0,
  };
  for (const seed of seeds) {
    const history = new WarmRestartHistory(seed, faults);
    try {
      await history.run();
      for (const name of Object.keys(total) as (keyof WarmRestartFindings)[]) total[name] += history.findings[name];
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error([`seed ${seed}: ${message}`, ...history.trace.map((line) => `  ${line}`)].join('\n'), {
        cause: error,
      });
    } finally {
      history.dispose();
    }
  }
  return total;
}

class WarmRestartHistory {
  readonly findings: WarmRestartFindings = {
    crashes: 0,
    stops: 0,
    lists: 0,
    kept: 0,
    resumed: 0,
    digests: 0,
    continued: 0,
  };
  readonly trace: string[] = [];
  readonly #random: Random;
  readonly #faults: WarmRestartFaults;
  readonly #disk: SimulatedDisk = new SimulatedDisk();
  readonly #store: MemoryStore = new MemoryStore();
  #registry!: InProcessRegistry;
  #life = 0;
  #players: Player[] = [];
  #watchers: Watcher[] = [];
  #names = 0;
  #marks = 0;
  /** How services stood when everything had come to rest last, and which may have changed since. */
  readonly #shown: Map<string, Shown> = new Map();
  readonly #touched: Set<string> = new Set();
  /** A partition has died since: its subscribers may be told again what they know. */
  #hasKilled = false;
  /** The highest version that anybody was told of a service. */
  readonly #told: Map<string, number> = new Map();
  /** What a version of a service was. */
  readonly #states: Map<string, string> = new Map();
  readonly #failures: string[] = [];
  readonly #asked: WeakMap<SimulatedClient, Map<Answered, Question>> = new WeakMap();
  /** The life before ended in order. */
  #hasStopped = false;

  constructor(seed: number, faults: WarmRestartFaults) {
    this.#random = new Random(seed);
    this.#faults = faults;
  }

  async run(): Promise<void> {
    let wallMicros = 1_800_000_000_000_000;
    for (; this.#life < lives; this.#life++) {
      await this.#live(wallMicros);
      const downMs = this.#random.below(3000);
      wallMicros += (this.#registry.nowMs + downMs - this.#random.pick(setBacksMs)) * 1000;
    }
  }

  dispose(): void {
    // What it still had open is closed.
    this.#disk.crash(this.#random);
    this.#disk.remove();
  }

  async #live(wallMicros: number): Promise<void> {
    const random = this.#random;
    const settings = {
      partitions: 1 + random.below(3),
      warmUpMs,
      warmUpMaxMs,
      disconnectGraceMs,
      moveSlots: 4096,
      restoreSliceRegistrations: 2,
      lossSessionsPercent: 101,
      lossServicePercent: 101,
      // Here things are delivered slowly.
      slotWaitTimeoutMs: 60_000,
      heartbeatTimeoutMs: 60_000,
    };
    const hosts = 1 + random.below(2);
    this.trace.push(`life ${this.#life + 1}: ${settings.partitions} partitions, ${hosts} hosts`);
    this.#registry = await InProcessRegistry.start(settings, hosts, {
      wallStartMicros: wallMicros,
      store: this.#store,
      disk: this.#disk,
    });
    if (this.#life > 0) await this.#judgeBeginning();
    this.#connectWatchers();
    for (let left = 20 + random.below(100); left > 0; left--) {
      await this.#act();
      for (let steps = random.below(8); steps > 0; steps--) this.#registry.step(random);
      await runPromises();
      this.#throwFailure();
    }
    await this.#end();
    this.#throwFailure();
  }

  #throwFailure(): void {
    const [failure] = this.#failures;
    if (failure !== undefined) throw new Error(failure);
  }

  async #act(): Promise<void> {
    const random = this.#random;
    const roll = random.below(100);
    const open = this.#players.filter(({ isOpen }) => isOpen);
    if (roll < 8 || (open.length === 0 && roll < 30)) this.#come();
    else if (roll < 45 && open.length > 0) this.#register(random.pick(open));
    else if (roll < 55 && open.length > 0) this.#deregister(random.pick(open));
    else if (roll < 68) this.#comeBack();
    else if (roll < 74 && open.length > 0) this.#leave(random.pick(open));
    else if (roll < 90) this.#registry.advance(random.below(80));
    else if (roll < 93) await this.#comeToRest();
    else if (roll < 96 && this.#faults.kills) this.#kill();
    else if (this.#faults.moves && !this.#registry.migrator.isBusy) {
      const partitions = 1 + random.below(3);
      this.trace.push(`${partitions} partitions are wanted`);
      this.#registry.migrator.resize(partitions).catch(() => undefined);
    }
  }

  #kill(): void {
    const random = this.#random;
    const partition = random.below(this.#registry.router.table.partitions);
    this.trace.push(`partition ${partition} dies`);
    this.#hasKilled = true;
    this.#registry.partitions[partition]?.die(random);
  }

  #come(): void {
    if (this.#players.filter(({ client }) => client !== undefined).length >= playersMax) return;
    this.#names += 1;
    const player: Player = {
      name: `player ${this.#names}`,
      claims: new Map(),
      secret: '',
      client: undefined,
      isOpen: false,
      isLost: false,
      mayEndFromMs: Number.POSITIVE_INFINITY,
      goneByMs: Number.POSITIVE_INFINITY,
    };
    this.#players.push(player);
    this.trace.push(`${player.name} comes`);
    this.#connect(player);
  }

  /** Somebody whose connection is gone, or who is to have another one. */
  #comeBack(): void {
    const able = this.#players.filter(({ client, isLost, secret }) => client === undefined && !isLost && secret !== '');
    if (able.length === 0) return;
    const player = this.#random.pick(able);
    this.trace.push(`${player.name} comes back`);
    this.#connect(player);
  }

  #connect(player: Player): void {
    const { core } = this.#random.pick(this.#registry.hosts);
    const client = new SimulatedClient(this.#registry, Number.POSITIVE_INFINITY, core);
    player.client = client;
    const asked = new Map<Answered, Question>();
    this.#asked.set(client, asked);
    client.listener = {
      onAnswer: (answered) => {
        if (player.client !== client) return;
        if (answered.method === 'session.open') this.#handleOpened(player, answered);
        else this.#handleAnswer(player, answered, asked.get(answered));
      },
      onChange: () => undefined,
      onGone: () => undefined,
    };
    const resume = player.secret === '' ? {} : { resume: player.secret };
    client.request('session.open', { client: 'simulated', capabilities: ['claims'], ...resume });
  }

  #handleOpened(player: Player, { result, error }: Answered): void {
    if (error !== undefined) {
      this.trace.push(`${player.name} is refused: ${error.data.code}`);
      this.#disconnect(player, false);
      return;
    }
    const { resumed, secret } = result as SessionOpenResult;
    if (player.secret === '') {
      player.secret = secret ?? '';
      player.isOpen = true;
      return;
    }
    const claims = [...player.claims.values()];
    const possible = claims.map((claim) => this.#possible(player, claim));
    const least = possible.filter((marks) => !marks.has(0)).length;
    if (resumed === undefined) {
      this.trace.push(`${player.name} is not known`);
      if (least > 0) this.#failures.push(`[WS3] the session of ${player.name}, which has registrations, is not known`);
      player.isLost = true;
      player.client!.leave(true);
      player.client = undefined;
      return;
    }
    const most = possible.filter((marks) => [...marks].some((mark) => mark !== 0)).length;
    if (resumed.registrations < least || resumed.registrations > most) {
      const said = `${resumed.registrations} registrations, and should have ${least} to ${most}`;
      this.#failures.push(`[WS3] the session of ${player.name} has ${said}`);
    }
    if (this.#life > 0) this.findings.resumed += 1;
    this.#judgeDigest(player, resumed.digest);
    player.mayEndFromMs = Number.POSITIVE_INFINITY;
    player.goneByMs = Number.POSITIVE_INFINITY;
    player.isOpen = true;
    // Whatever became of what was not answered, or not noted, it is asked for again.
    for (const claim of claims) {
      const { mark } = claim.wishes.at(-1)!;
      if (claim.wishes.length > 1) this.#ask(player, claim, mark);
    }
  }

  #judgeDigest(player: Player, said: string): void {
    const digest = new RegistrationDigest();
    for (const claim of player.claims.values()) {
      const [wish] = claim.wishes;
      if (this.#possible(player, claim).size > 1 || wish === undefined) return;
      if (wish.mark === 0) continue;
      if (wish.fragment === '') return;
      digest.add(serviceKey(claim), wish.fragment);
    }
    this.findings.digests += 1;
    if (digest.toString() !== said) this.#failures.push(`[WS3] the session of ${player.name} holds other contents`);
  }

  #register(player: Player): void {
    const random = this.#random;
    const [service, id] = [random.pick(services), random.pick(ids)];
    const claim = player.claims.get(`${service} ${id}`) ?? { service, id, wishes: [] };
    if (claim.wishes.length === 0) {
      player.claims.set(`${service} ${id}`, claim);
      claim.wishes.push({ mark: 0, isAnswered: true, fragment: '' });
    }
    const last = claim.wishes.at(-1)!.mark;
    const mark = last > 0 && random.below(3) === 0 ? last : ++this.#marks;
    this.#ask(player, claim, mark);
  }

  #deregister(player: Player): void {
    const held = [...player.claims.values()].filter(({ wishes }) => wishes.at(-1)!.mark > 0);
    if (held.length > 0) this.#ask(player, this.#random.pick(held), 0);
  }

  #ask(player: Player, claim: Claim, mark: number): void {
    const { name, client } = player;
    const { service, id } = claim;
    const wish: Wish = { mark, isAnswered: false, fragment: '' };
    claim.wishes.push(wish);
    this.#touched.add(service);
    this.trace.push(`${name} ${mark === 0 ? 'deregisters' : 'registers'} ${service} ${id} ${mark === 0 ? '' : mark}`);
    const told = this.#told.get(service) ?? 0;
    const asked = this.#asked.get(client!)!;
    const answered =
      mark === 0
        ? client!.request('instance.deregister', { service, id })
        : client!.request('instance.register', { service, instance: { id, host: 'h', port: mark } });
    const question = { claim, wish, told };
    asked.set(answered, question);
    // What the session does not hold is refused at once.
    if (answered.error !== undefined) this.#handleAnswer(player, answered, question);
  }

  #handleAnswer(player: Player, { method, result, error }: Answered, asked: Question | undefined): void {
    if (asked === undefined) return;
    const { name, client } = player;
    const { claim, wish, told } = asked;
    const { service, id } = claim;
    if (error !== undefined) {
      const { code } = error.data;
      // After a restart it may be that there was nothing.
      if (wish.mark === 0 && (code === 'not_found' || code === 'not_owner')) wish.isAnswered = true;
      // It may have been carried out or not, and is asked for again.
      else if (code === 'internal' && player.isOpen) {
        if (claim.wishes.at(-1) === wish) this.#ask(player, claim, wish.mark);
      } else if (code !== 'draining')
        this.#failures.push(`${method} of ${service} ${id} by ${name} is refused: ${code}`);
      return;
    }
    wish.isAnswered = true;
    const { version } = result as RegisterResult;
    if (version < told) this.#failures.push(`[PU1] ${method} tells version ${version} of ${service} after ${told}`);
    this.#noteTold(service, version);
    const fragment = client?.session.registrations.get(serviceKey({ service }), id)?.fragment ?? '';
    if (wish.mark > 0 && fragment.includes(`"port":${wish.mark},`)) wish.fragment = fragment;
  }

  #noteTold(service: string, version: number): void {
    this.#told.set(service, Math.max(version, this.#told.get(service) ?? 0));
  }

  #leave(player: Player): void {
    const isClean = this.#random.below(3) === 0;
    this.trace.push(`${player.name} ${isClean ? 'leaves' : 'breaks'}`);
    this.#disconnect(player, isClean);
  }

  #disconnect(player: Player, isClean: boolean): void {
    const { nowMs } = this.#registry;
    player.client?.leave(isClean);
    player.client = undefined;
    player.isOpen = false;
    const mayEndFromMs = isClean ? nowMs : nowMs + disconnectGraceMs;
    player.mayEndFromMs = Math.min(player.mayEndFromMs, mayEndFromMs);
    player.goneByMs = Math.max(mayEndFromMs, Number.isFinite(player.goneByMs) ? player.goneByMs : 0) + lingerMs;
    player.isLost ||= isClean;
  }

  /** What a player's instance may be, if it ended now. */
  #possible(player: Player, { wishes }: Claim): Set<number> {
    const marks = new Set(wishes.map(({ mark }) => mark));
    if (player.mayEndFromMs <= this.#registry.nowMs) marks.add(0);
    return marks;
  }

  #isTouched(service: string): boolean {
    return (
      this.#touched.has(service) ||
      this.#players.some(
        ({ claims, mayEndFromMs }) =>
          mayEndFromMs <= this.#registry.nowMs && [...claims.values()].some((claim) => claim.service === service),
      )
    );
  }

  /** Everything is answered, told and noted; what is shown is compared with what was registered. */
  async #comeToRest(): Promise<void> {
    const registry = this.#registry;
    const random = this.#random;
    await registry.settle(random);
    const isEnding = ({ mayEndFromMs, goneByMs }: Player): boolean =>
      mayEndFromMs <= registry.nowMs && goneByMs > registry.nowMs;
    while (this.#players.some(isEnding)) {
      registry.advance(50);
      await registry.deliver(random);
    }
    await registry.settle(random);
    // Journals are written 200 ms later at most.
    for (let waitedMs = 0; waitedMs < 300; waitedMs += 50) {
      registry.advance(50);
      await registry.deliver(random);
    }
    this.#throwFailure();
    // Time has passed, and others may be ending now: they are, until this is done again.
    this.#players = this.#players.filter(({ goneByMs }) => goneByMs > registry.nowMs);
    for (const { name, claims, client } of this.#players) {
      if (client === undefined) continue;
      for (const [at, claim] of claims) {
        const last = claim.wishes.at(-1)!;
        if (!last.isAnswered) throw new Error(`${name} has no answer about ${at}`);
        claim.wishes = [last];
        if (last.mark === 0) claims.delete(at);
      }
    }
    const shown = await this.#query();
    this.trace.push('everything has come to rest');
    this.#touched.clear();
    this.#hasKilled = false;
    for (const [service, state] of shown) {
      this.#judgeList(service, state);
      this.#shown.set(service, state);
      this.#compareWatchers(service, state);
    }
  }

  /** Asks what is shown. */
  async #query(): Promise<Map<string, Shown>> {
    const registry = this.#registry;
    const random = this.#random;
    const probe = new SimulatedClient(registry, Number.POSITIVE_INFINITY, random.pick(registry.hosts).core);
    const answers = new Map(services.map((service) => [service, probe.request('service.query', { service })]));
    while ([...answers.values()].some(({ result }) => result === undefined)) {
      // Partitions may have died again and again.
      for (const [service, { error }] of answers)
        if (error !== undefined) answers.set(service, probe.request('service.query', { service }));
      if (!registry.step(random)) await runPromises();
    }
    probe.leave(true);
    return new Map([...answers].map(([service, { result }]) => [service, this.#read(service, result as QueryResult)]));
  }

  #read(service: string, { version, instances }: QueryResult): Shown {
    const marks = new Map(instances.map(({ id, port }) => [id, port]));
    const state = JSON.stringify(sorted(marks));
    const known = this.#states.get(`${service} ${version}`);
    if (known !== undefined && known !== state) {
      throw new Error(`[PU1] version ${version} of ${service} is ${state}, and was ${known} before`);
    }
    if (marks.size > 0) this.#states.set(`${service} ${version}`, state);
    const prefix = `${serviceKey({ service })} `;
    const claims = this.#registry.partitions.flatMap(({ core }) => core?.describeInstances() ?? []);
    return { version, marks, claims: claims.filter((line) => line.startsWith(prefix)).toSorted(compare) };
  }

  #judgeList(service: string, { version, marks }: Shown): void {
    this.findings.lists += 1;
    for (const id of ids) {
      const possible = this.#players.flatMap((player) => {
        const claim = player.claims.get(`${service} ${id}`);
        return claim === undefined ? [] : [this.#possible(player, claim)];
      });
      const mark = marks.get(id);
      const said = `version ${version} of ${service}`;
      if (mark === undefined) {
        if (possible.some((one) => !one.has(0))) throw new Error(`[WS1] ${said} lacks ${id}, which is registered`);
      } else if (!possible.some((one) => one.has(mark))) {
        throw new Error(`[WS1] ${said} has ${id} with ${mark}, which nobody has registered`);
      }
    }
    const told = this.#told.get(service) ?? 0;
    if (version < told && (marks.size > 0 || this.#shown.get(service)?.marks.size !== 0)) {
      throw new Error(`[PU1] ${service} is at version ${version}, and ${told} was told before`);
    }
    this.#noteTold(service, version);
  }

  #compareWatchers(service: string, state: Shown): void {
    const isWarm = this.#life === 0 || this.#registry.nowMs > warmUpMaxMs + lingerMs;
    for (const { client, current } of this.#watchers) {
      const view = client.views.get(serviceKey({ service }));
      const marks = view === undefined ? undefined : readMarks(view);
      const isSame = isDeepStrictEqual(marks, sorted(state.marks));
      if (!isSame && isWarm) throw new Error(`[PU1] a subscriber of ${service} has ${String(marks)}`);
      // Of changes that cancel each other out nobody is told, and a service without instances is not noted.
      if (isSame && view?.version === state.version && state.marks.size > 0) current.add(service);
      else current.delete(service);
    }
  }

  /** The first answers of a life. */
  async #judgeBeginning(): Promise<void> {
    for (const [service, state] of await this.#query()) {
      const told = this.#told.get(service) ?? 0;
      const before = this.#shown.get(service);
      this.findings.kept += state.marks.size;
      if (!this.#hasStopped && state.marks.size > 0 && state.version <= told) {
        throw new Error(`[WS3] after a crash ${service} is at version ${state.version}, and ${told} was told before`);
      }
      this.#judgeList(service, state);
      if (this.#isTouched(service) || before === undefined) continue;
      if (!isDeepStrictEqual(sorted(state.marks), sorted(before.marks))) {
        throw new Error(`[WS1] ${service} shows ${String([...state.marks])}, and showed ${String([...before.marks])}`);
      }
      if (!isDeepStrictEqual(state.claims, before.claims)) {
        throw new Error(`[WS1] the claims are ${state.claims.join()}, and were ${before.claims.join()}`);
      }
      if (this.#hasStopped && !this.#hasKilled && state.marks.size > 0 && state.version !== before.version) {
        throw new Error(`[WS3] ${service} is at version ${state.version}, and was at ${before.version} at the end`);
      }
    }
  }

  #connectWatchers(): void {
    const before = this.#watchers.map(({ held, current }) => ({ held, current }));
    this.#watchers = [0, 1].map((i) => {
      const { core } = this.#random.pick(this.#registry.hosts);
      const client = new SimulatedClient(this.#registry, Number.POSITIVE_INFINITY, core);
      const { held, current } = before[i] ?? { held: new Map<string, SubscriberView>(), current: new Set<string>() };
      const watcher: Watcher = { client, held: new Map(), current };
      const isQuiet = (service: string): boolean =>
        current.has(service) && !this.#isTouched(service) && !this.#hasKilled;
      client.listener = {
        onAnswer: ({ params, result, error }) => {
          const { service } = params as { service: string };
          if (error?.data.code === 'internal') client.subscribe(service, 'delta', held.get(service));
          if (result === undefined) return;
          const answer = result as SubscribeResult;
          const view = client.views.get(serviceKey({ service }))!;
          watcher.held.set(service, view);
          this.#noteTold(service, answer.version);
          if (!isQuiet(service) || this.#life === 0) return;
          this.findings.continued += 1;
          if (!('from' in answer) || answer.put.length + answer.remove.length > 0)
            this.#failures.push(`[WS3] a subscriber of ${service} that knew all is told it again`);
        },
        onChange: (key, view) => {
          const service = services.find((name) => serviceKey({ service: name }) === key)!;
          this.#noteTold(service, view.version);
          if (isQuiet(service)) this.#failures.push(`[WS3] a subscriber of ${service} is told of no change`);
        },
        onGone: () => undefined,
      };
      for (const service of services) client.subscribe(service, i === 0 ? 'delta' : 'snapshot', held.get(service));
      return watcher;
    });
  }

  async #end(): Promise<void> {
    const registry = this.#registry;
    const random = this.#random;
    if (random.below(3) === 0) await this.#comeToRest();
    const isStop = random.below(3) === 0;
    // A partition that is not there cannot write what it knows.
    if (isStop && registry.supervisor.states().some((state) => state !== 'ready')) await this.#comeToRest();
    this.trace.push(isStop ? 'the process ends in order' : 'the process dies');
    this.#hasStopped = isStop;
    if (isStop) {
      for (const player of this.#players) this.#noteEnding(player);
      await registry.stop(random);
      this.findings.stops += 1;
    } else {
      registry.crash(random);
      for (const player of this.#players) this.#noteEnding(player);
      this.findings.crashes += 1;
    }
    for (const player of this.#players) this.#outlive(player, isStop);
  }

  /** One that may be ending may be known, or not. */
  #noteEnding(player: Player): void {
    if (player.mayEndFromMs > this.#registry.nowMs) return;
    for (const { service, wishes } of player.claims.values()) {
      wishes.push({ mark: 0, isAnswered: false, fragment: '' });
      this.#touched.add(service);
    }
  }

  /** The process has ended. */
  #outlive(player: Player, isStop: boolean): void {
    player.client = undefined;
    player.isOpen = false;
    if (player.secret === '') player.isLost = true;
    player.mayEndFromMs = warmUpMs;
    player.goneByMs = warmUpMaxMs + disconnectGraceMs + 2 * lingerMs;
    for (const claim of player.claims.values()) {
      // That it was answered says nothing any more.
      if (!isStop) for (const wish of claim.wishes.slice(1)) wish.isAnswered = false;
      const at = claim.wishes.findLastIndex(({ isAnswered }) => isAnswered);
      claim.wishes = claim.wishes.slice(Math.max(at, 0));
    }
  }
}

function sorted(marks: ReadonlyMap<string, number>): [string, number][] {
  return [...marks].toSorted(([a], [b]) => compare(a, b));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function readMarks({ instances }: SubscriberView): [string, number][] {
  return sorted(new Map([...instances.values()].map(({ id, port }) => [id, port])));
}
