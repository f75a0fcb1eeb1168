import { parseServiceKey, serviceKey } from '../src/protocol/service-key.ts';
import type { HeldRegistration } from '../src/protocol/types.ts';
import type { Actor } from './actor.ts';
import { hashInstance } from './catalog.ts';
import type { Crowd } from './crowd.ts';
import type { Tally } from './tally.ts';

interface Claim {
  readonly actor: Actor;
  readonly hash: string;
}

/**
 * In quiet, what each client has registered by its session's own account: of those that have registered one instance exactly one shows, and the others have
 * been told that theirs does not (SE7). Says what is wrong. `shown`: what is in the lists, by service key; `total`: registrations that sessions hold in all.
 */
export async function compareClaims(
  crowd: Crowd,
  shown: ReadonlyMap<string, ReadonlyMap<string, number>>,
  total: number,
  tally: Tally,
): Promise<string | undefined> {
  const claims = new Map<string, Claim[]>();
  let count = 0;
  for (const actor of crowd.reading()) {
    const answer = await actor.ask('session.registrations', { limit: 1000 });
    if (answer?.result === undefined) return `${actor.fate.name} is not told what it has registered`;
    const listed = answer.result['registrations'] as readonly HeldRegistration[];
    const wrong = comparePossessions(crowd, actor, listed);
    if (wrong !== undefined) return wrong;
    for (const held of listed) {
      const name = `${serviceKey(held)} ${held.id}`;
      claims.set(name, [...(claims.get(name) ?? []), { actor, hash: held.hash }]);
      count += 1;
    }
  }
  if (count !== total) return `clients have ${count} registrations, and ${total} are held`;
  for (const [name, claimants] of claims) {
    const wrong = judgeClaimants(name, claimants, shown);
    if (wrong !== undefined) return wrong;
  }
  tally.claimsCompared += count;
  tally.sharedInstances += [...claims.values()].filter(({ length }) => length > 1).length;
  return undefined;
}

/** What was answered is there in the end, and nothing else. */
function comparePossessions(crowd: Crowd, actor: Actor, listed: readonly HeldRegistration[]): string | undefined {
  const has = (service: string, id: string): boolean =>
    listed.some((held) => held.service === service && held.id === id);
  const possessions = crowd.judge.ledger.possessionsOf(actor.fate);
  for (const { service, id, isCertain } of possessions) {
    if (isCertain && !has(service, id))
      return `${actor.fate.name} has registered ${service} ${id} , and has it no more`;
  }
  for (const { service, id } of listed) {
    if (!possessions.some((possession) => possession.service === service && possession.id === id))
      return `${actor.fate.name} has ${service} ${id} , which it did not register`;
  }
  return undefined;
}

function judgeClaimants(
  name: string,
  claimants: readonly Claim[],
  shown: ReadonlyMap<string, ReadonlyMap<string, number>>,
): string | undefined {
  const [key = '', id = ''] = name.split(' ');
  const { service } = parseServiceKey(key);
  const showing = claimants.filter(({ actor }) => !actor.hidden.has(`${service} ${id}`));
  const names = claimants.map(({ actor }) => actor.fate.name).join(', ');
  if (showing.length !== 1)
    return `[SE7] of ${names}, who have registered ${service} ${id} , ${showing.length} believe that theirs shows`;
  const mark = shown.get(key)?.get(id);
  if (mark === undefined || hashInstance(service, id, mark) !== showing[0]!.hash)
    return `[SE7] ${showing[0]!.actor.fate.name} believes that its ${service} ${id} shows, and ${mark} does`;
  return undefined;
}
