import type { SessionOpenParams } from './types.ts';

/**
 * What not every client and server of this version understands, or wants; both name theirs in `session.open`. The closed list is
 * in docs/PROTOCOL.md; a test compares. `isAssumed`: clients had it before there was a name for it, so one that does not name all
 * that it understands has it.
 */
export const capabilities = {
  claims: {
    isAssumed: false,
    meaning: 'The server notifies the client by `instance.claim` whether its registrations are visible.',
  },
  goaway: { isAssumed: true, meaning: 'The server asks the client by `session.goaway` to reconnect.' },
  resume: {
    isAssumed: true,
    meaning: 'Sessions can be taken over: `secret` and `resume` of `session.open`, and `session.registrations`.',
  },
  warming: {
    isAssumed: true,
    meaning: 'Lists of a registry that has just started have `warming`; `service.subscribe` has `count`.',
  },
} as const;

export type Capability = keyof typeof capabilities;

export const capabilityNames: readonly Capability[] = Object.keys(capabilities) as Capability[];

/**
 * Whether a client may be sent what belongs to a capability. One that says `protocol` and `capabilities` has named all that it
 * understands; clients from before that did not.
 */
export function understands(opened: SessionOpenParams | undefined, capability: Capability): boolean {
  const { protocol, capabilities: named } = opened ?? {};
  if (named?.includes(capability) === true) return true;
  return capabilities[capability].isAssumed && (named === undefined || protocol === undefined);
}
