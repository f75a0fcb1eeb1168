import type { AccessCheck, Grant } from '../../access/access-check.ts';
import type { Failure } from '../../protocol/errors.ts';
import { leaseOf } from '../../sessions/leases.ts';
import type { LeaseAnswer, LeaseCall } from '../../sessions/leases.ts';

export interface LeaseAccessOptions {
  readonly access: Pick<AccessCheck, 'bind' | 'unbind'>;
  /** Whichever host holds the lease carries it out. */
  readonly carryOut: (call: LeaseCall) => Promise<LeaseAnswer>;
}

const noSuchLease: Failure = { code: 'not_found', message: 'there is no such lease' };

/** Leases as callers know them: each is one for that principal only to whom it was granted. */
export class LeaseAccess {
  readonly #options: LeaseAccessOptions;

  constructor(options: LeaseAccessOptions) {
    this.#options = options;
  }

  async carryOut(call: LeaseCall, { principal }: Grant): Promise<LeaseAnswer> {
    const { access, carryOut } = this.#options;
    const bound = leaseOf(call);
    const lease = bound === undefined ? undefined : access.unbind(bound, principal);
    if (bound !== undefined && lease === undefined) return noSuchLease;
    const answer = await carryOut(lease === undefined ? call : nameLease(call, lease));
    if (!('lease' in answer)) return answer;
    return { ...answer, lease: { ...answer.lease, lease: access.bind(answer.lease.lease, principal) } };
  }
}

function nameLease(call: LeaseCall, lease: string): LeaseCall {
  switch (call.kind) {
    case 'register':
      return { ...call, body: { ...call.body, lease } };
    case 'report':
      return { ...call, body: { ...call.body, lease } };
    case 'deregister':
      return { ...call, query: { ...call.query, lease } };
    case 'grant':
      return call;
    default:
      return { ...call, lease };
  }
}
