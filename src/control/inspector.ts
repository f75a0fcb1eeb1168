import type { Failure } from '../protocol/errors.ts';
import type { ServiceInspectionQuery, SessionInspectionQuery } from '../protocol/http-operations.ts';
import type { ClaimSummary, ServiceInspection, SessionInspection, SlotsResult } from '../protocol/http-results.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { Instance } from '../protocol/types.ts';
import { sum } from '../sessions/host-figures.ts';
import { slotCount } from '../slots/slot.ts';
import { fromFields, fromPartition, toPartition } from '../workers/messages.ts';
import type { Hosts } from './hosts.ts';
import type { DescribedOwner } from './session-host.ts';

/** Fields of a claim in a record. */
const claimFields = 6;
/** How long a thread that holds sessions may take to answer, in milliseconds, before it is left out. */
const answerTimeoutMs = 1000;

interface FoundClaim {
  readonly owner: number;
  readonly id: string;
  readonly fragment: string;
  readonly isShown: boolean;
}

/** Looks into what partitions and hosts hold, for operators. */
export class Inspector {
  readonly #hosts: Hosts;
  readonly #delay: (ms: number) => Promise<void>;

  constructor(hosts: Hosts, delay: (ms: number) => Promise<void>) {
    this.#hosts = hosts;
    this.#delay = delay;
  }

  readSlots(): SlotsResult {
    const { table, main } = this.#hosts;
    const runs: { partition: number; slots: number }[] = [];
    const frozen: number[] = [];
    for (let slot = 0; slot < slotCount; slot++) {
      const partition = table.ownerOf(slot);
      const last = runs.at(-1);
      if (last?.partition === partition) last.slots += 1;
      else runs.push({ partition, slots: 1 });
      if (main.router.gate.isSlotFrozen(slot)) frozen.push(slot);
    }
    return { epoch: table.epoch, runs, frozen };
  }

  async inspectService(query: ServiceInspectionQuery): Promise<ServiceInspection | Failure> {
    const key = serviceKey(query);
    const { id = '', limit = protocolLimits.listLimitDefault } = query;
    // One more shows whether there are more.
    const found = await this.#readClaims(key, id, limit + 1);
    if ('code' in found) return found;
    const listed = found.slice(0, limit);
    const numbers = [...new Set(listed.map(({ owner }) => owner))];
    const [subscribers, described] = await Promise.all([
      this.#askAll((host) => host.countSubscribers(key), 0),
      this.#askAll((host) => host.describeOwners(numbers), [] as DescribedOwner[]),
    ]);
    const owners = new Map(described.flat());
    return {
      subscribers: sum(subscribers),
      claims: listed.map((claim): ClaimSummary => {
        const owner = owners.get(claim.owner);
        const registered = JSON.parse(claim.fragment) as Instance;
        return { id: claim.id, isShown: claim.isShown, registered, ...(owner === undefined ? {} : { owner }) };
      }),
      more: found.length > limit,
    };
  }

  async inspectSession({ session, limit }: SessionInspectionQuery): Promise<SessionInspection | Failure> {
    const found = await this.#askAll(
      (host) => host.inspectSession(session, limit ?? protocolLimits.listLimitDefault),
      undefined,
    );
    return found.find((each) => each !== undefined) ?? { code: 'not_found', message: 'there is no such session' };
  }

  #readClaims(key: string, id: string, limit: number): Promise<readonly FoundClaim[] | Failure> {
    return new Promise((resolve) => {
      this.#hosts.main.router.ask({
        key,
        build: (request) => [toPartition.inspect, request, key, id, limit],
        settle: (answer) => {
          if (answer[0] !== fromPartition.inspected) throw new Error(`not an answer to an inspection: ${answer[0]}`);
          const fields = answer[fromFields.inspected.claims];
          const at = Array.from({ length: fields.length / claimFields }, (_, claim) => claim * claimFields);
          resolve(
            at.map((first) => ({
              owner: fields[first] as number,
              id: fields[first + 2] as string,
              fragment: fields[first + 3] as string,
              isShown: fields[first + 5] === 0,
            })),
          );
        },
        refuse: resolve,
        abandon: () => {
          resolve({ code: 'internal', message: 'the partition of the service died' });
        },
      });
    });
  }

  /** A thread that does not answer in time is left out. */
  #askAll<T>(ask: (host: ReturnType<Hosts['all']>[number]) => Promise<T>, otherwise: T): Promise<T[]> {
    return Promise.all(
      this.#hosts.all().map((host) => Promise.race([ask(host), this.#delay(answerTimeoutMs).then(() => otherwise)])),
    );
  }
}
